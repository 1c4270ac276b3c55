//! Hooks against a server of the test's own, which records what it is told and answers as it is bidden.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{Read, Write},
};

use serde_json::Value;
use thalweg_runtime::net::{TcpListener, TcpStream};

use super::*;

/// What the server does with a call.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Say(u16, &'static str),
    /// Closes the connection in the midst of its answer.
    Break,
    /// Says nothing until the caller gives up.
    Hang,
}

const YES: Answer = Answer::Say(200, "0");

/// A hook server.
#[derive(Clone)]
struct Server {
    at: String,
    script: Rc<RefCell<VecDeque<Answer>>>,
    /// Path, head and body of each call.
    calls: Rc<RefCell<Vec<(String, String, String)>>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap().to_string();
        let server = Self { at, script: Rc::default(), calls: Rc::default() };
        let serving = server.clone();
        rt::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let server = serving.clone();
                rt::spawn(move || server.serve(stream));
            }
        });
        server
    }

    fn serve(&self, mut stream: TcpStream) {
        while let Some((head, body)) = request(&mut stream) {
            let path = head.split(' ').nth(1).unwrap().to_owned();
            let answer = self.script.borrow_mut().pop_front().unwrap_or(YES);
            self.calls.borrow_mut().push((path, head, body));
            match answer {
                Answer::Say(status, body) => {
                    let head =
                        format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len());
                    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
                }
                Answer::Break => {
                    stream.write_all(b"HTTP/1.1 2").unwrap();
                    return;
                }
                Answer::Hang => drop(stream.read(&mut [0])),
            }
        }
    }

    fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.script.borrow_mut().extend(answers);
    }

    fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://{}/{path}", self.at)).unwrap()
    }

    /// What it was told so far: actions and clients.
    fn told(&self) -> Vec<String> {
        let calls = self.calls.borrow();
        calls.iter().map(|(_, _, body)| told(body)).collect()
    }
}

fn told(body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap();
    format!("{} {}", body["action"].as_str().unwrap(), body["client_id"].as_str().unwrap())
}

fn request(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut text = String::new();
    loop {
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).ok().filter(|count| *count > 0)?;
        text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.to_lowercase();
        let length = length.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
        if body.len() == length.parse::<usize>().unwrap() {
            return Some((head.to_owned(), body.to_owned()));
        }
    }
}

fn settings(urls: impl IntoIterator<Item = (Hook, Vec<Url>)>) -> Settings {
    Settings {
        urls: urls.into_iter().collect(),
        timeout: Duration::from_millis(200),
        on_failure: OnFailure::Refuse,
        signer: None,
        roots: Roots::default(),
        queue_most: 100,
        retry: Duration::from_secs(60),
        identity: Identity { server: "vid-0".into(), service: "s0".into(), pid: "1".into() },
    }
}

/// All hooks at one server.
fn all(server: &Server) -> Settings {
    settings(Hook::ALL.map(|hook| (hook, vec![server.url(hook.name())])))
}

fn start(settings: Settings) -> Hooks {
    let hooks = Hooks::new(settings);
    hooks.start().unwrap();
    hooks
}

fn key() -> StreamKey {
    "live/cam".parse().unwrap()
}

fn subject(client: u64) -> Subject {
    Subject::of_stream(client, "192.0.2.7".parse().unwrap(), &key())
}

fn drained(hooks: &Hooks) {
    hooks.drain(rt::now() + Duration::from_secs(10));
    assert_eq!(hooks.stats().queued, 0);
}

fn run(test: impl FnOnce() + 'static) {
    rt::run(|| rt::timeout(Duration::from_secs(30), test));
}

#[test]
fn every_body_has_the_fields_of_srs_in_their_order() {
    run(|| {
        let server = Server::start();
        let hooks = start(all(&server));
        let mut of = subject(7);
        of.tc_url = "rtmp://gw/live".into();
        of.page_url = "http://page/".into();
        of.param = "?token=x".into();
        let connected = hooks.connect(of.clone(), || (11, 22)).unwrap();
        let published = hooks.publish(of.clone(), &key()).unwrap();
        let segment = Segment {
            duration: Duration::from_millis(9360),
            file: "f.ts".into(),
            url: "live/cam/f.ts".into(),
            m3u8: "cam.m3u8".into(),
            m3u8_url: "live/cam.m3u8".into(),
            seq_no: 100,
        };
        hooks.segment(&key(), &segment);
        hooks.recorded(&key(), "cam.flv");
        let played = hooks.play(of).unwrap();
        drop(played);
        drop(published);
        drop(connected);
        drained(&hooks);
        let cwd = serde_json::to_string(&std::env::current_dir().unwrap()).unwrap();
        let id = key().id();
        let first = |action: &str| {
            format!(
                r#""server_id":"vid-0","service_id":"s0","action":"{action}","client_id":"7","ip":"192.0.2.7","vhost":"__defaultVhost__","app":"live""#
            )
        };
        let stream = r#""tcUrl":"rtmp://gw/live","stream":"cam","param":"?token=x""#;
        let last = format!(r#""stream_url":"/live/cam","stream_id":"{id}""#);
        let segment =
            r#""url":"live/cam/f.ts","m3u8":"cam.m3u8","m3u8_url":"live/cam.m3u8","seq_no":100"#;
        for (hook, rest) in [
            ("on_connect", r#""stream":"cam","param":"?token=x","tcUrl":"rtmp://gw/live","pageUrl":"http://page/""#.to_owned()),
            ("on_close", r#""send_bytes":11,"recv_bytes":22"#.to_owned()),
            ("on_publish", format!("{stream},{last}")),
            ("on_unpublish", format!("{stream},{last}")),
            ("on_play", format!(r#""stream":"cam","tcUrl":"rtmp://gw/live","param":"?token=x","pageUrl":"http://page/",{last}"#)),
            ("on_stop", format!("{stream},{last}")),
            ("on_hls", format!(r#"{stream},"duration":9.36,"cwd":{cwd},"file":"f.ts",{segment},{last}"#)),
            ("on_dvr", format!(r#"{stream},"cwd":{cwd},"file":"cam.flv",{last}"#)),
        ] {
            let calls = server.calls.borrow();
            let call = calls.iter().find(|(path, ..)| path[1..] == *hook).unwrap();
            assert_eq!(call.2, format!("{{{},{rest}}}", first(hook)));
            assert!(call.1.starts_with(&format!("POST /{hook} HTTP/1.1\r\n")));
            assert!(call.1.to_lowercase().contains("content-type: application/json"), "{}", call.1);
        }
        assert_eq!(server.calls.borrow().len(), 8);
    });
}

#[test]
fn a_virtual_host_stands_in_the_streams_url() {
    let key = key().on_vhost("tv.example").unwrap();
    let of = Subject::of_stream(1, "::ffff:192.0.2.7".parse().unwrap(), &key);
    let body = event::body(Hook::Publish, &Identity::default(), &of, &Detail::None);
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["stream_url"], "tv.example/live/cam");
    assert_eq!(body["tcUrl"], "rtmp://tv.example/live");
    assert_eq!(body["ip"], "192.0.2.7");
}

#[test]
fn all_servers_of_a_hook_are_asked_in_order_until_one_refuses() {
    run(|| {
        let server = Server::start();
        let urls = ["one", "two", "three"].map(|path| server.url(path));
        let hooks = start(settings([(Hook::Publish, urls.to_vec())]));
        let paths = || server.calls.take().into_iter().map(|(path, ..)| path).collect::<Vec<_>>();
        drop(hooks.publish(subject(1), &key()).unwrap());
        assert_eq!(paths(), ["/one", "/two", "/three"]);
        server.answer([Answer::Say(201, r#"{"code":0}"#), Answer::Say(200, r#"{"code":403}"#)]);
        assert_eq!(hooks.publish(subject(1), &key()).unwrap_err(), Denied::Refused(Hook::Publish));
        assert_eq!(paths(), ["/one", "/two"]);
        let stats = hooks.stats().hooks[Hook::Publish.index()];
        assert_eq!((stats.accepted, stats.refused, stats.failed), (4, 1, 0));
        assert_eq!(stats.latency.counts.iter().sum::<u64>(), 5);
    });
}

#[test]
fn without_an_answer_the_policy_decides() {
    run(|| {
        let server = Server::start();
        let only_play = || settings([(Hook::Play, vec![server.url("on_play")])]);
        for (policy, expected) in
            [(OnFailure::Refuse, Err(Denied::Failed(Hook::Play))), (OnFailure::Accept, Ok(()))]
        {
            for answer in [Answer::Break, Answer::Hang, Answer::Say(502, "0")] {
                let hooks = start(Settings { on_failure: policy, ..only_play() });
                server.answer([answer]);
                assert_eq!(hooks.play(subject(1)).map(drop), expected, "{answer:?}");
            }
            // A refusal is one under both.
            let hooks = start(Settings { on_failure: policy, ..only_play() });
            server.answer([Answer::Say(200, "no")]);
            assert_eq!(hooks.play(subject(1)).map(drop), Err(Denied::Refused(Hook::Play)));
        }
    });
}

#[test]
fn nothing_is_told_of_the_end_of_who_was_refused() {
    run(|| {
        let server = Server::start();
        let hooks = start(all(&server));
        server.answer([Answer::Say(403, "")]);
        hooks.publish(subject(1), &key()).unwrap_err();
        drained(&hooks);
        assert_eq!(server.told(), ["on_publish 1"]);
    });
}

#[test]
fn what_ends_is_told_again_until_somebody_answers_and_in_order() {
    run(|| {
        let server = Server::start();
        let hooks = start(all(&server));
        let connected = hooks.connect(subject(1), || (0, 0)).unwrap();
        let published = hooks.publish(subject(1), &key()).unwrap();
        let other = hooks.play(subject(2)).unwrap();
        server.calls.take();
        server.answer([Answer::Break, Answer::Break]);
        drop(published);
        drop(connected);
        // Both of the first client's wait; nobody else's does.
        drop(other);
        drained(&hooks);
        let told = server.told();
        let of = |client: &str| {
            let of = told.iter().filter(|told| told.ends_with(client));
            of.cloned().collect::<Vec<_>>()
        };
        assert_eq!(of(" 1").last().unwrap(), "on_close 1");
        assert_eq!(of(" 2").last().unwrap(), "on_stop 2");
        let close = told.iter().position(|told| told == "on_close 1").unwrap();
        let unpublish = told.iter().rposition(|told| told == "on_unpublish 1").unwrap();
        assert!(unpublish < close, "{told:?}");
        assert_eq!(told.len(), 5, "{told:?}");
        assert_eq!(hooks.stats().retries, 2);
    });
}

#[test]
fn a_question_waits_for_what_is_still_to_be_told_of_its_client() {
    run(|| {
        let server = Server::start();
        let hooks = start(all(&server));
        drop(hooks.play(subject(1)).unwrap());
        drop(hooks.play(subject(1)).unwrap());
        drained(&hooks);
        assert_eq!(server.told(), ["on_play 1", "on_stop 1", "on_play 1", "on_stop 1"]);
    });
}

#[test]
fn an_event_is_given_up_in_the_end() {
    run(|| {
        let server = Server::start();
        let hooks = start(Settings { retry: Duration::ZERO, ..all(&server) });
        let played = hooks.play(subject(1)).unwrap();
        server.answer([Answer::Break]);
        drop(played);
        drained(&hooks);
        let stats = hooks.stats();
        assert_eq!((stats.given_up, stats.retries, stats.dropped), (1, 0, 0));
    });
}

#[test]
fn too_many_events_are_dropped_and_counted() {
    run(|| {
        let server = Server::start();
        let hooks = start(Settings { queue_most: 3, ..all(&server) });
        let played: Vec<Notice> = (0..10).map(|at| hooks.play(subject(at)).unwrap()).collect();
        drop(played);
        let stats = hooks.stats();
        assert_eq!((stats.queued, stats.dropped), (3, 7));
        drained(&hooks);
        drop(hooks.play(subject(99)).unwrap());
        drained(&hooks);
        assert_eq!(server.told().last().unwrap(), "on_stop 99");
    });
}

#[test]
fn a_server_that_fails_is_left_alone_and_holds_nobody_up() {
    run(|| {
        let server = Server::start();
        let hooks = start(all(&server));
        server.answer([Answer::Hang; 5]);
        for client in 0..5 {
            assert_eq!(hooks.play(subject(client)).unwrap_err(), Denied::Failed(Hook::Play));
        }
        let before = rt::now();
        assert_eq!(hooks.play(subject(6)).unwrap_err(), Denied::Failed(Hook::Play));
        assert!(rt::now() - before < hooks.0.settings.timeout, "it was not even called");
        assert_eq!(server.calls.borrow().len(), 5);
        let stats = hooks.stats();
        assert_eq!(stats.open_breakers, 1);
        assert_eq!(stats.hooks[Hook::Play.index()].skipped, 1);
        // Others are not touched by that.
        drop(hooks.publish(subject(7), &key()).unwrap());
    });
}

#[test]
fn a_server_that_hangs_stalls_nobody_but_who_asks() {
    run(|| {
        let server = Server::start();
        let hooks = start(all(&server));
        server.answer([Answer::Hang]);
        let slow = {
            let hooks = hooks.clone();
            rt::spawn(move || hooks.play(subject(1)).map(drop))
        };
        while server.calls.borrow().is_empty() {
            rt::yield_now().unwrap();
        }
        drop(hooks.play(subject(2)).unwrap());
        assert_eq!(slow.join().unwrap(), Err(Denied::Failed(Hook::Play)));
    });
}

#[test]
fn a_caller_that_is_cancelled_learns_that() {
    run(|| {
        let server = Server::start();
        let hooks = start(all(&server));
        server.answer([Answer::Hang]);
        let slow = rt::spawn(move || hooks.play(subject(1)).map(drop));
        while server.calls.borrow().is_empty() {
            rt::yield_now().unwrap();
        }
        slow.cancel();
        assert_eq!(slow.join().unwrap(), Err(Denied::Wait(WaitError::Cancelled)));
    });
}

#[test]
fn a_call_is_signed_and_a_repetition_has_the_number_of_the_first() {
    run(|| {
        let server = Server::start();
        let signer = Some(Signer::new("a secret of some length"));
        let hooks = start(Settings { signer, ..all(&server) });
        let played = hooks.play(subject(1)).unwrap();
        server.answer([Answer::Break]);
        drop(played);
        drained(&hooks);
        let calls = server.calls.take();
        let ids = calls.iter().map(|(_, head, body)| {
            let line = head.lines().find_map(|line| line.strip_prefix("x-thalweg-signature: "));
            let line = line.expect("every call is signed");
            let parts: BTreeMap<&str, &str> =
                line.split(',').map(|part| part.split_once('=').unwrap()).collect();
            let again = Signer::new("a secret of some length").header(
                parts["t"].parse().unwrap(),
                parts["id"],
                body.as_bytes(),
            );
            assert_eq!(line, again);
            parts["id"].to_owned()
        });
        assert_eq!(ids.collect::<Vec<_>>(), ["s0-1", "s0-2", "s0-2"]);
    });
}

#[test]
fn files_that_are_finished_after_their_publisher_are_told_as_its_own() {
    run(|| {
        let server = Server::start();
        let hooks = start(all(&server));
        drop(hooks.publish(subject(5), &key()).unwrap());
        hooks.recorded(&key(), "cam.mp4");
        hooks.recorded(&"live/other".parse().unwrap(), "other.mp4");
        drained(&hooks);
        let told = server.told();
        assert!(told.contains(&"on_dvr 5".to_owned()), "{told:?}");
        assert!(told.contains(&"on_dvr 0".to_owned()), "{told:?}");
    });
}

#[test]
fn nothing_secret_is_printed() {
    let url = Url::parse("https://me:horse@h/x?token=horse").unwrap();
    let mut settings = settings([(Hook::Play, vec![url])]);
    settings.signer = Some(Signer::new("a horse of some length"));
    let mut of = subject(1);
    of.param = "?token=horse".into();
    let hooks = Hooks::new(settings);
    assert!(!format!("{hooks:?} {of:?}").contains("horse"));
}
