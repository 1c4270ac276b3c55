//! `thalweg convert` as a person uses it: a file of SRS in, a configuration that the gateway takes out.

use std::{fs, process::Command};
use thalweg_tests::gateway::{program, test_file};

const SRS: &str = "listen 1935;
max_connections 500;
http_server { enabled on; listen 8080; }
srt_server { enabled on; listen 10080; }
vhost __defaultVhost__ {
    hls { enabled on; hls_fragment 2; hls_window 20; }
    dvr { enabled on; dvr_path /data/[app]/[stream].[timestamp].mp4; dvr_plan session; }
    http_hooks { enabled on; on_publish http://127.0.0.1:8085/streams; }
    forward { enabled on; destination 192.0.2.1; }
}
";

#[test]
fn what_is_converted_is_a_configuration_and_the_rest_is_listed() {
    let (srs, ours) = (test_file("conf"), test_file("toml"));
    fs::write(&srs, SRS).expect("the folder of test files can be written");
    let output = Command::new(program()).arg("convert").arg(&srs).output().expect("it runs");
    let listed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{listed}");
    assert!(listed.contains(":9: `forward` has no equivalent"), "{listed}");
    fs::write(&ours, &output.stdout).expect("the folder of test files can be written");
    let check = Command::new(program()).arg("check").arg(&ours).output().expect("it runs");
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in
        ["connections = 500", "target_s = 2", "on_publish = [\"http://127.0.0.1:8085/streams\"]"]
    {
        assert!(text.lines().any(|one| one == line), "{line}:\n{text}");
    }
}

#[test]
fn junk_is_refused_with_its_line() {
    let srs = test_file("conf");
    fs::write(&srs, "listen 1935;\nvhost {\n").expect("the folder of test files can be written");
    let output = Command::new(program()).arg("convert").arg(&srs).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(":3: a block is not closed"), "{said}");
}
