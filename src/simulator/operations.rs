//! What each known operation answers: plausible, and with something of what was asked in it.
//! Nothing is dialled; what the calls of a task come to is made up in `dialled`.

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::answer::{Answer, Payload};
use super::dialled::Dialled;
use super::input::Input;
use super::platform::Platform;
use super::tasks::Task;
use crate::clock;

/// An archive without files in it.
const EMPTY_ZIP: &[u8] = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// Answers the operation of this path; 404 when there is none. The method is not looked at where programs are known
/// to be wrong about it: some send their GETs as POSTs with a query.
pub(super) fn answer(platform: &Platform, method: &Method, path: &str, input: &Input) -> Answer {
    if let Some(operation) = path.strip_prefix("/service/callcenter/call/predict/") {
        return predict(platform, operation, input);
    }
    match path {
        "/service/cloud/task" if method == Method::POST => create_task(platform, input),
        "/service/cloud/v2/task" if method == Method::POST => create_task(platform, input),
        "/service/cloud/operation" => echo(input, "TaskID"),
        "/service/cloud/cancelphonecall" => echo(input, "TaskID"),
        "/service/cloud/list" => list_tasks(platform),
        "/service/cloud/detail" => task_detail(platform, input),
        "/service/cloud/robot" => {
            Answer::ok(&json!([{ "RobotID": "5f2d0a8be6a34f0e9c3b7d1a2f4c6e80", "RobotName": "Reminder" }]))
        }
        "/service/cloud/recording" => {
            Answer::new(StatusCode::OK, "application/zip", Payload::Bytes(Bytes::from_static(EMPTY_ZIP)))
        }
        "/service/cloud/case" => call_recording(platform, input),
        "/service/cloud/workflow/createinstance" => Answer::ok(&json!({
            "workflow_id": platform.noise.id(),
            "workflow_template_id": input.value("workflow_template_id"),
            "name": input.value("name"),
        })),
        "/service/cloud/workflow/uploaddetails" => Answer::ok(&json!({
            "workflow_id": input.value("workflow_id"),
            "accepted": input.list("details").len(),
            "detail_error_list": [],
        })),
        "/service/cloud/workflow/taskdetail" => Answer::ok(&json!({
            "workflow_id": input.value("workflow_id"),
            "rows": [],
            "total": 0,
        })),
        "/service/cloud/workflow/detailinstances" => find_workflows(platform, input),
        "/service/sms/message/v2/send" => {
            Answer::ok_body(&json!({ "messageId": platform.noise.id(), "accepted": input.list("to").len() }))
        }
        "/api/v1/process/queryTaskQian" => Answer::json(&json!({
            "data": { "read": [], "unRead": [] },
            "msg": "",
            "retcode": 0,
            "traceId": input.value("header").get("traceId").unwrap_or(&Value::Null).as_str().unwrap_or_default(),
        })),
        _ => Answer::failed(StatusCode::NOT_FOUND, "no such operation"),
    }
}

/// A task succeeds partly when some of its details are not what details are.
fn create_task(platform: &Platform, input: &Input) -> Answer {
    let details = input.list("Details");
    let broken: Vec<Value> = details
        .iter()
        .enumerate()
        .filter(|(_, detail)| !detail.is_object())
        .map(|(index, _)| json!({ "index": index, "error": "a detail is an object" }))
        .collect();
    let task =
        Task { id: platform.noise.id(), name: input.value("TaskName").clone(), details: details.len() - broken.len() };
    let answer = Answer::ok(&json!({ "TaskID": task.id, "TaskName": task.name, "detail_error_list": broken }));
    Dialled::new(&task.id, input, &platform.noise, &platform.url).call_back(&platform.options, &platform.caller);
    platform.tasks.remember(task);
    answer
}

fn list_tasks(platform: &Platform) -> Answer {
    let tasks = platform.tasks.summaries();
    Answer::ok(&json!({ "Total": tasks.len(), "List": tasks }))
}

/// A task that was not created here is answered too, as an old one.
fn task_detail(platform: &Platform, input: &Input) -> Answer {
    let Some(id) = input.text("TaskID") else { return missing("TaskID") };
    let known = platform.tasks.find(id);
    Answer::ok(&known.unwrap_or_else(|| json!({ "TaskID": id, "TaskName": "", "Total": 0, "Status": "Finished" })))
}

/// A `+` that was not written `%2B` arrives as a space, and no such number was ever called.
fn call_recording(platform: &Platform, input: &Input) -> Answer {
    let (Some(task), Some(callee)) = (input.text("TaskID"), input.text("Callee")) else {
        return missing("TaskID or Callee");
    };
    if !callee.strip_prefix('+').unwrap_or(callee).bytes().all(|byte| byte.is_ascii_digit()) {
        return Answer::code(400, "Callee is not a phone number with its country code");
    }
    let link = format!("{}/recordings/{}.mp3", platform.url, platform.noise.id());
    Answer::ok(&json!({ "TaskID": task, "Callee": callee, "link": link }))
}

fn find_workflows(platform: &Platform, input: &Input) -> Answer {
    let mut now = String::new();
    // Writing to a string cannot fail.
    let _ = clock::write_rfc3339(clock::wall_millis(), &mut now);
    Answer::ok(&json!({
        "rows": [{
            "workflow_id": platform.noise.id(),
            "workflow_name": "Reminder",
            "create_time": now,
            "status": "Running",
            "callee": input.value("callee"),
        }],
        "total": 1,
    }))
}

fn predict(platform: &Platform, operation: &str, input: &Input) -> Answer {
    match operation {
        "createtask" | "copytask" => {
            Answer::ok_body(&json!({ "taskId": platform.noise.id(), "taskName": input.value("taskName") }))
        }
        "canceltaskcontacts" | "querytaskdetail" => Answer::ok_body(&json!({ "taskId": input.value("taskId") })),
        "querytasklist" => Answer::ok_body(&json!({ "total": 0, "list": [] })),
        "case/recording" => {
            let link = format!("{}/recordings/{}.mp3", platform.url, platform.noise.id());
            Answer::ok_body(&json!({ "taskId": input.value("taskId"), "link": link }))
        }
        _ => Answer::failed(StatusCode::NOT_FOUND, "no such operation"),
    }
}

fn echo(input: &Input, name: &str) -> Answer {
    match input.text(name) {
        Some(value) => {
            let mut data = serde_json::Map::new();
            data.insert(name.to_owned(), value.into());
            Answer::ok(&Value::Object(data))
        }
        None => missing(name),
    }
}

/// The platform says such things with HTTP 200.
fn missing(name: &str) -> Answer {
    Answer::code(400, &format!("{name} is missing"))
}
