//! Options through the public calls: what is agreed on with a peer, and what a connection still takes.

use std::io;
use std::time::Duration;

use thalweg_runtime as rt;
use thalweg_srt_io::options::{KeyLength, MaxBandwidth, RetransmitAlgorithm, Rule};
use thalweg_srt_io::{Listener, OptionError, OptionName, OptionValue, Options, Socket};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Runs `f` with a connected pair: the caller's end and the listener's.
fn with_pair(
    caller: Options,
    listener: Options,
    f: impl FnOnce(Socket, Socket) -> Outcome + 'static,
) -> io::Result<()> {
    rt::run(move || {
        let listening = Listener::bind("127.0.0.1:0", &listener).map_err(io::Error::other)?;
        let addr = listening.local_addr();
        let calling = rt::spawn(move || Socket::connect(addr, &caller));
        let (accepted, _peer) = listening.accept().map_err(io::Error::other)?;
        let called = calling.join().map_err(|_| io::Error::other("the caller panicked"))?;
        f(called.map_err(io::Error::other)?, accepted)
            .map_err(|error| io::Error::other(error.to_string()))
    })
}

fn latency(socket: &Socket, name: OptionName) -> Result<Option<Duration>, OptionError> {
    Ok(socket.option(name)?.duration(name))
}

#[test]
fn the_greater_latency_of_each_direction_is_agreed_on() -> io::Result<()> {
    let ms = Duration::from_millis;
    let caller = Options::live().recv_latency(ms(200)).peer_latency(ms(50));
    let listener = Options::live().recv_latency(ms(100)).peer_latency(ms(300));
    with_pair(caller, listener, move |caller, listener| {
        assert_eq!(latency(&caller, OptionName::RecvLatency)?, Some(ms(300)));
        assert_eq!(latency(&caller, OptionName::PeerLatency)?, Some(ms(100)));
        assert_eq!(latency(&listener, OptionName::RecvLatency)?, Some(ms(100)));
        assert_eq!(latency(&listener, OptionName::PeerLatency)?, Some(ms(300)));
        Ok(())
    })
}

#[test]
fn an_accepted_socket_has_the_listeners_options() -> io::Result<()> {
    let listener = Options::long_haul().passphrase("correct horse");
    let caller = Options::live()
        .passphrase("correct horse")
        .key_length(KeyLength::Aes256)
        .stream_id("#!::r=a");
    with_pair(caller, listener, |caller, listener| {
        assert_eq!(listener.option(OptionName::LossMaxTtl)?, OptionValue::Number(40));
        assert_eq!(listener.option(OptionName::PeerIdleTimeout)?, OptionValue::Number(10_000));
        assert_eq!(listener.option(OptionName::StreamId)?, OptionValue::Text("#!::r=a".into()));
        assert_eq!(listener.option(OptionName::KeyLength)?, OptionValue::Number(32));
        // SRT_KM_S_SECURED.
        assert_eq!(listener.option(OptionName::RecvKmState)?, OptionValue::Number(2));
        assert_eq!(caller.option(OptionName::SendKmState)?, OptionValue::Number(2));
        let error = caller.option(OptionName::Passphrase).expect_err("no passphrase is handed out");
        assert_eq!(error, OptionError::WriteOnly { option: OptionName::Passphrase });
        Ok(())
    })
}

#[test]
fn a_connection_takes_post_options_and_says_why_it_refuses_others() -> io::Result<()> {
    with_pair(Options::live(), Options::live(), |caller, _listener| {
        let changes = Options::changes()
            .loss_max_ttl(25)
            .max_bandwidth(MaxBandwidth::RelativeToInput)
            .overhead_percent(50)
            .send_drop_delay(None)
            .drift_tracer(false);
        caller.set_options(&changes)?;
        assert_eq!(caller.option(OptionName::LossMaxTtl)?, OptionValue::Number(25));
        assert_eq!(caller.option(OptionName::MaxBandwidth)?, OptionValue::Number(0));
        assert_eq!(caller.option(OptionName::OverheadBandwidth)?, OptionValue::Number(50));
        assert_eq!(caller.option(OptionName::SendDropDelay)?, OptionValue::Number(-1));
        assert_eq!(caller.option(OptionName::DriftTracer)?, OptionValue::Flag(false));

        let late = Options::changes()
            .retransmit_algorithm(RetransmitAlgorithm::Aggressive)
            .loss_max_ttl(5);
        let error = caller.set_options(&late).expect_err("an algorithm cannot change");
        assert_eq!(
            error,
            OptionError::NotNow { option: OptionName::RetransmitAlgorithm, rule: Rule::Pre }
        );
        // All or nothing.
        assert_eq!(caller.option(OptionName::LossMaxTtl)?, OptionValue::Number(25));
        Ok(())
    })
}

#[test]
fn wrong_options_are_refused_before_anything_is_opened() -> io::Result<()> {
    rt::run(|| {
        let wrong = Options::live().too_late_drop(false);
        let error =
            Listener::bind("127.0.0.1:0", &wrong).expect_err("would hang at the first loss");
        assert!(error.to_string().contains("tlpktdrop"), "{error}");
        let error =
            Socket::connect("127.0.0.1:1", &wrong).expect_err("would hang at the first loss");
        assert!(error.to_string().contains("tlpktdrop"), "{error}");
        Ok(())
    })
}
