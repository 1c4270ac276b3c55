//! Tests that end their process run in a child: the test program starts itself again with the name
//! of the test, and the test finds out that it is the child.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

const MARK: &str = "THALWEG_TEST_CHILD";

/// How a child ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Fails with all that the child wrote, unless it ended well.
    pub(crate) fn assert_success(&self) {
        assert!(self.status.success(), "{}:\n{}", self.status, self.stderr);
    }
}

/// Whether this process is the child that runs `test`.
pub(crate) fn is_child(test: &str) -> bool {
    std::env::var_os(MARK).is_some_and(|name| name == test)
}

/// Runs `test` in a child, with more variables in its environment.
#[expect(clippy::disallowed_methods, reason = "no coroutine runs while the child does")]
pub(crate) fn run(test: &str, environment: &[(&str, &str)]) -> Ended {
    let program = std::env::current_exe().expect("the test program has a path");
    let output = Command::new(program)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(MARK, test)
        .envs(environment.iter().copied())
        .output()
        .expect("the test program starts again");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Ended { status: output.status, stderr }
}
