//! A gateway that ended in whatever way starts again where it was.

use crate::support::{Folder, Setup, platform};

#[test]
fn a_killed_gateway_starts_again_in_its_folder() {
    let platform = platform();
    let folder = Folder::new();
    let setup = Setup { folder: Some(folder.clone()), ..Setup::default() };
    let left = folder.path().join("left");
    std::fs::write(&left, "by the first").expect("a file");
    let mut first = setup.start(&platform);
    assert_eq!(first.client().get("/service/cloud/list").status, 200);
    assert_eq!(first.inbound, None, "nothing listens for callbacks that nobody configured");
    first.kill();
    assert!(std::net::TcpStream::connect(first.outbound).is_err(), "it is gone");
    drop(first);
    assert!(left.exists(), "the folder is not gone with it");
    let second = setup.start(&platform);
    assert_eq!(second.client().get("/service/cloud/list").status, 200);
}
