//! Peers that leave: one that says goodbye, and one that cannot any more.

use std::time::Duration;

use thalweg_runtime as rt;
use thalweg_srt_io::{RecvError, SendError};

use super::support::exchange::{Meeting, Met, Terms, Way, meet};
use super::support::{message, run};

/// How soon a silent peer counts as gone.
const IDLE: Duration = Duration::from_secs(1);

#[test]
fn a_receiver_is_told_of_a_killed_peer() {
    run(|| {
        let terms = Terms::new(Meeting::WeListen);
        let terms = Terms { options: terms.options.clone().peer_idle_timeout(IDLE), ..terms };
        let Met { mut tool, socket, .. } = meet(Way::FromTool, &terms)?;
        let receiver = rt::spawn(move || socket.recv(&mut [0; message::BYTES]));
        tool.kill()?;
        let end = receiver.join().map_err(|error| error.to_string())?;
        assert!(matches!(end, Err(RecvError::Broken)), "{end:?}");
        Ok(())
    });
}

#[test]
fn a_sender_is_told_of_a_killed_peer() {
    run(|| {
        let terms = Terms::new(Meeting::ToolListens);
        let terms = Terms { options: terms.options.clone().peer_idle_timeout(IDLE), ..terms };
        let Met { mut tool, socket, .. } = meet(Way::ToTool, &terms)?;
        socket.send(&message::encode(0))?;
        tool.kill()?;
        let end = loop {
            rt::sleep(Duration::from_millis(10))?;
            if let Err(end) = socket.send(&message::encode(0)) {
                break end;
            }
        };
        assert!(matches!(end, SendError::Broken), "{end:?}");
        Ok(())
    });
}

#[test]
fn a_peer_that_says_goodbye_is_told_apart() {
    run(|| {
        let Met { tool, socket, .. } = meet(Way::FromTool, &Terms::new(Meeting::WeListen))?;
        tool.wait_for("connected")?;
        tool.terminate()?;
        let end = socket.recv(&mut [0; message::BYTES]).unwrap_err();
        assert!(matches!(end, RecvError::Disconnected), "{end:?}");
        Ok(())
    });
}
