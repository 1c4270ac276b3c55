//! What the package brings: the systemd unit, what the service manager hears, the container's recipe, log rotation.

use std::{
    fs, io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use thalweg_tests::gateway::{Gateway, program, run, test_file, thalweg};

const PATIENCE: Duration = Duration::from_secs(60);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it is in the repository").to_owned()
}

fn packaged(name: &str) -> String {
    fs::read_to_string(root().join("packaging").join(name)).expect("it is packaged")
}

#[test]
fn the_unit_is_one_that_systemd_understands() {
    // It looks whether the program is there, so the unit gets that of this build.
    let folder = test_file("units");
    fs::create_dir_all(&folder).expect("the folder of test files can be written");
    let unit =
        packaged("thalweg.service").replace("/usr/bin/thalweg", &program().display().to_string());
    let path = folder.join("thalweg.service");
    fs::write(&path, unit).expect("it is ours");
    let path = path.display().to_string();
    let (output, errors) = run("systemd-analyze", &["verify", "--man=no", &path], PATIENCE);
    let about_it = |line: &&str| line.contains("thalweg");
    let said: Vec<&str> = output.lines().chain(errors.lines()).filter(about_it).collect();
    assert!(said.is_empty(), "{said:?}");
}

/// The datagrams of a gateway until one of them says this.
fn hear(socket: &UnixDatagram, what: &str) -> Vec<String> {
    let mut heard = Vec::new();
    let mut buf = [0; 512];
    loop {
        let count =
            socket.recv(&mut buf).unwrap_or_else(|error| panic!("{what}: {error}: {heard:?}"));
        let text = String::from_utf8_lossy(&buf[..count]).into_owned();
        let is_it = text.lines().any(|line| line == what);
        heard.push(text);
        if is_it {
            return heard;
        }
    }
}

#[test]
fn the_service_manager_hears_of_every_change() -> io::Result<()> {
    let path = test_file("socket");
    let socket = UnixDatagram::bind(&path)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut command = thalweg(&["timeouts.shutdown_ms=1000"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "100000");
    let mut gateway = Gateway::start_by(&mut command);
    hear(&socket, "READY=1");
    for _ in 0..3 {
        hear(&socket, "WATCHDOG=1");
    }
    gateway.signal("HUP");
    let heard = hear(&socket, "RELOADING=1");
    let reloading = heard.last().expect("it was heard");
    assert!(reloading.contains("\nMONOTONIC_USEC="), "{reloading}");
    hear(&socket, "READY=1");
    assert_eq!(gateway.end("TERM"), Some(0));
    hear(&socket, "STOPPING=1");
    Ok(())
}

#[test]
fn the_recipe_of_the_container_names_what_there_is() {
    let recipe = packaged("Dockerfile");
    let mut copied = 0;
    for line in recipe.lines().filter(|line| line.starts_with("COPY ") && !line.contains("--from"))
    {
        let mut words: Vec<&str> = line.split_whitespace().skip(1).collect();
        words.pop();
        for source in words {
            copied += 1;
            assert!(root().join(source).exists(), "{line}: there is no {source}");
        }
    }
    assert!(copied > 0, "{recipe}");
    assert!(recipe.contains("USER thalweg") && recipe.contains("HEALTHCHECK"));
    // What it starts is a command that there is.
    let health = Command::new(program()).args(["health", "--help"]).output().expect("it runs");
    assert!(health.status.success());
}

#[test]
fn health_tells_whether_a_gateway_answers() {
    let gateway = Gateway::start(&[]);
    let url = format!("http://{}", gateway.http);
    let (said, _) = run(&program().display().to_string(), &["health", &url], PATIENCE);
    assert!(said.contains("is well"), "{said}");
    drop(gateway);
    let output = Command::new(program()).args(["health", &url]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
}
