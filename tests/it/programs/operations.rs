//! What a program may do, and for which account.

use airudder_gateway::simulator::Options;

use super::{BOOKS, CALLS, LOGIN, call, check_refused, json, log_in, setup, token_of};
use crate::support::gateway::Finished;
use crate::support::{Setup, calls, platform, platform_with};

#[test]
fn a_program_uses_the_operations_that_are_named_and_no_other() {
    let platform = platform();
    let gateway = setup().start(&platform).ready();
    let books = format!("Authorization: Token {}\r\n", log_in(&gateway, BOOKS));
    let others = format!("Authorization: Token {}\r\n", log_in(&gateway, CALLS));
    let mut client = gateway.client();
    for (path, allowed) in [
        ("/service/cloud/task", true),
        ("/service/cloud/v2/task", true),
        ("/service/cloud/list", true),
        ("/service/callcenter/call/predict/createtask", true),
        ("/service/callcenter/call/predict/copytask", false),
        ("/service/cloud/cancelphonecall", false),
        ("/service/cloud/case", false),
        // Dressed up as another path.
        ("/service/cloud/task/../case", false),
        ("/service/cloud/%63ase", false),
        ("/service/cloud/unknown", false),
        ("/", false),
    ] {
        platform.clear();
        let answer = client.post_with(path, &books, "{}");
        if allowed {
            assert_eq!(answer.word(), None, "{path}");
        } else {
            check_refused(&answer, 403, "operation_not_allowed");
            let line = gateway.line_of(&answer);
            assert_eq!((&line["program"], &line["fault"]), (&"books".into(), &"program".into()), "{path}");
        }
        assert_eq!(calls(&platform).len(), usize::from(allowed), "{path}");
        assert_eq!(client.post_with(path, &others, "{}").word(), None, "{path}: a program without a list uses all");
    }
    // Logging in is no operation that has to be named.
    token_of(&client.post("/service/callcenter/call/predict/auth", json(BOOKS)));
}

#[test]
fn a_token_calls_for_its_own_account() {
    let first = platform();
    let second = platform_with(Options { key_pair: ("key-2".into(), "secret-2".into()), ..Options::default() });
    let account = format!(
        "[[account]]\nname = \"second\"\nupstream = \"{}\"\napp_key = {{ env = \"SECOND_KEY\" }}\n\
         app_secret = {{ env = \"SECOND_SECRET\" }}\nencryption = \"off\"\n",
        second.url()
    );
    let programs = setup().more.replace("name = \"books\"", "name = \"books\"\naccount = \"second\"");
    let env = [setup().env, vec![("SECOND_KEY".into(), "key-2".into()), ("SECOND_SECRET".into(), "secret-2".into())]];
    let gateway = Setup { more: account + &programs, env: env.concat(), ..setup() }.start(&first).ready();
    let login = gateway.client().post(LOGIN, json(BOOKS));
    assert_eq!(gateway.line_of(&login)["account"], "second");
    let answer = call(&mut gateway.client(), &format!("Token {}\r\nX-Gateway-Account: main", token_of(&login)));
    assert_eq!((answer.status, calls(&first).len(), calls(&second).len()), (200, 0, 1), "{answer:?}");
    assert_eq!(gateway.line_of(&answer)["account"], "second");
    let answer =
        call(&mut gateway.client(), &format!("Token {}\r\nX-Gateway-Account: nobody", log_in(&gateway, CALLS)));
    check_refused(&answer, 400, "unknown_account");
}

#[test]
fn a_name_that_no_operation_has_is_refused_before_the_start() {
    for (operation, known) in [("tsk.*", false), ("other", true), ("*", true), ("plan.*", false), ("auth", true)] {
        let more = setup().more.replace("\"task.*\"", &format!("\"{operation}\""));
        for command in ["check", "run"] {
            if known && command == "run" {
                continue; // it would run
            }
            let finished = Finished::of(command, &Setup { more: more.clone(), ..setup() }, |text| text);
            if known {
                assert_eq!(finished.status, Some(0), "{operation}: {}", finished.err);
                continue;
            }
            assert_eq!((finished.status, finished.err.lines().count()), (Some(64), 1), "{}", finished.err);
            let sentence = format!(
                "[[program]] \"books\": operations holds \"{operation}\", which no operation has for a name; use some of auth, \
                 call.cancel, call.recording, other, "
            );
            assert!(finished.err.contains(&sentence), "{}", finished.err);
        }
    }
    let plan = "[[operation]]\nname = \"plan.create\"\nmethod = \"POST\"\npath = \"/service/cloud/plan\"\nencryption = \"on\"\n";
    let more = setup().more.replace("\"task.*\"", "\"plan.*\"") + plan;
    let finished = Finished::of("check", &Setup { more, ..setup() }, |text| text);
    assert_eq!(finished.status, Some(0), "{}", finished.err);
}
