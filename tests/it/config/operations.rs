//! `[[operation]]`: a route of its own or none, and headers that can be sent.

use super::check_more;

#[test]
fn an_operation_has_a_whole_route_or_none() {
    let check_operation = |rest: &str, sentence: &str| {
        check_more(&format!("[[operation]]\nname = \"plan.create\"\n{rest}"), sentence);
    };
    check_operation("method = \"POST\"", "line 8: method stands without path; add path, or remove method");
    check_operation("path = \"/plan\"", "line 8: path stands without method; add method, or remove path");
    check_operation(
        "method = \"post\"\npath = \"/plan\"",
        "line 8: method \"post\" is not one of GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS",
    );
    for path in ["plan", "/plan?a=b", "/a b", ""] {
        check_operation(
            &format!("method = \"POST\"\npath = \"{path}\""),
            &format!("line 9: path \"{path}\" must begin with / and have no query, no # and no spaces"),
        );
    }
    let route = "method = \"POST\"\npath = \"/plan\"\n";
    check_operation(
        &format!("{route}[[operation]]\nname = \"plan.create\"\n{route}"),
        "line 10: two operations are named \"plan.create\"; give each its own name",
    );
    check_operation(
        &format!("{route}[[operation]]\nname = \"plan.make\"\n{route}"),
        "line 10: two operations are POST /plan; remove one of them",
    );
    check_more(
        "[[operation]]\nname = \"Plan\"",
        "line 7: name \"Plan\" may hold only a to z, 0 to 9, _ and . for an operation",
    );
    check_operation(
        "encryption = \"aes\"",
        "line 8: encryption must be \"on\" or \"off\"; the key belongs to the account",
    );
    check_operation(
        "encryption = \"on\"",
        "line 8: encryption is on, but account \"main\" has no encryption; give it one, or remove this line",
    );
}

#[test]
fn headers_of_an_operation_are_fit_to_be_sent() {
    let check_headers = |headers: &str, sentence: &str| {
        check_more(&format!("[[operation]]\nname = \"o\"\nheaders = {headers}"), &format!("line 8: {sentence}"));
    };
    check_headers("{}", "headers is empty; name a header, or remove it to send Authorization");
    check_headers("\"canary\"", "headers must be a table of header names, such as { token = { env = \"NAME\" } }");
    check_headers(
        "{ token = \"canary\" }",
        "header token is written as text; keep secrets out of this file and write where it is kept, \
         { env = \"NAME\" } or { file = \"PATH\" }",
    );
    check_headers(
        "{ token = { env = \"TWO_LINES\" } }",
        "header token must be visible ASCII without line breaks and outer spaces to fit into a header; correct it",
    );
    check_headers("{ \"a b\" = { env = \"KEY_A\" } }", "\"a b\" is no header name; use letters, digits and -");
    check_headers(
        "{ token = { env = \"KEY_A\" }, Token = { env = \"KEY_B\" } }",
        "header token is named twice, for case makes no difference; remove one",
    );
    check_headers("{ Signed = { env = \"KEY_A\" } }", "header signed is written by the gateway itself; remove it");
}
