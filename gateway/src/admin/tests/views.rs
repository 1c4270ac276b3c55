//! What the API shows beyond streams and clients.

use super::*;

#[test]
fn what_srs_shows_of_process_and_machine_is_there() {
    simulate(|| {
        let gateway = Gateway::new(1);
        for (path, names) in [
            ("rusages", &["sample_time", "ru_utime", "ru_maxrss", "ru_nivcsw"][..]),
            ("self_proc_stats", &["percent", "pid", "state", "num_threads", "vsize", "rss"]),
            ("system_proc_stats", &["percent", "user", "sys", "idle", "guest"]),
            ("meminfos", &["percent_ram", "RealInUse", "NotInUse", "MemTotal", "SwapFree"]),
            ("features", &["options", "features"]),
            ("authors", &["license"]),
            ("summaries", &["ok", "now_ms", "self", "system"]),
        ] {
            let answer = gateway.get(&format!("/api/v1/{path}"));
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
            let data = &answer.json()["data"];
            for name in names {
                assert!(!data[name].is_null(), "{path}: {name} is missing: {data}");
            }
        }
        let urls = gateway.get("/api/v1/").json()["urls"].clone();
        for name in urls.as_object().unwrap().keys().filter(|name| *name != "raw") {
            assert_eq!(gateway.get(&format!("/api/v1/{name}")).status, 200, "{name}");
        }
    });
}

#[test]
fn virtual_hosts_sum_up_their_streams() {
    simulate(|| {
        let gateway = Gateway::new(10);
        let _publisher = gateway.publish("live/cam");
        let _player = gateway.play("live/cam");
        let hosts = gateway.get("/api/v1/vhosts").json();
        assert_eq!(hosts["total"], 1);
        let host = &hosts["vhosts"][0];
        assert_eq!((&host["streams"], &host["clients"]), (&1.into(), &2.into()));
        assert_eq!((&host["recv_bytes"], &host["send_bytes"]), (&1000.into(), &5000.into()));
        let id = host["id"].as_str().unwrap();
        assert_eq!(
            gateway.get(&format!("/api/v1/vhosts/{id}")).json()["vhost"]["name"],
            host["name"]
        );
        let none = gateway.get("/api/v1/vhosts/vid-x").json();
        assert_eq!(none["code"], 2047);
        assert_eq!(gateway.get("/api/v1/streams").json()["streams"][0]["vhost"], host["id"]);
    });
}

#[test]
fn events_tell_who_came_and_went_and_who_ended_whom() {
    simulate(|| {
        let gateway = Gateway::new(10);
        let (publisher, client) = gateway.publish("live/cam");
        client.set_kick(|| {});
        let kicked = gateway.ask("DELETE", "/api/v1/clients/1", ORIGIN);
        assert_eq!(kicked.status, 200);
        drop((publisher, client));
        let refused = gateway.admin.clients.enter("srt", "198.51.100.1:9000".parse().unwrap());
        refused.note_refusal(None, "busy", Some(1409));
        let json = gateway.get("/api/v1/events").json();
        let kinds: Vec<_> =
            json["events"].as_array().unwrap().iter().map(|event| &event["event"]).collect();
        assert_eq!(kinds, ["published", "kicked", "unpublished", "refused"]);
        assert_eq!(json["last"], 4);
        assert_eq!(json["events"][1]["detail"], "by 192.0.2.1:1234");
        let since = |query: &str| gateway.get(&format!("/api/v1/events?{query}")).json();
        assert_eq!(since("since=3")["events"].as_array().unwrap().len(), 1);
        assert_eq!(since("since=1&count=1")["last"], 2);
        assert_eq!(since("since=4")["events"].as_array().unwrap().len(), 0);
        let rejections = gateway.get("/api/v1/rejections").json();
        assert_eq!(
            (&rejections["total"], &rejections["rejections"][0]["srt_code"]),
            (&1.into(), &1409.into())
        );
    });
}

#[test]
fn coroutines_are_listed_for_programs_and_for_people() {
    simulate(|| {
        let gateway = Gateway::new(1);
        let waiting =
            rt::Builder::new().name("waits here").spawn(|| rt::sleep(Duration::from_secs(60)));
        rt::yield_now().unwrap();
        let json = gateway.get("/api/v1/coroutines?count=100").json();
        let list = json["coroutines"].as_array().unwrap();
        assert_eq!(json["total"], list.len());
        let found = list.iter().find(|coroutine| coroutine["name"] == "waits here").unwrap();
        assert_eq!(found["state"], "parked");
        assert!(found["stack_bytes"].as_u64().unwrap() > 0);
        let text = gateway.get("/api/v1/coroutines?format=text&backtraces=true&count=100");
        assert!(text.head.contains("content-type: text/plain"), "{}", text.head);
        assert!(text.body.contains("\"waits here\" waits for"), "{}", text.body);
        for wrong in ["format=xml", "backtraces=1", "count=-1"] {
            assert_eq!(gateway.get(&format!("/api/v1/coroutines?{wrong}")).status, 400, "{wrong}");
        }
        waiting.unwrap().cancel();
    });
}

#[test]
fn the_configuration_is_read_again_when_asked_and_what_was_wrong_stays_to_be_seen() {
    simulate(|| {
        let gateway = Gateway::new(1);
        let raw = |rpc: &str| gateway.ask("POST", &format!("/api/v1/raw?rpc={rpc}"), ORIGIN);
        assert_eq!(raw("reload").status, 409, "nobody said how");
        let wrong = Rc::new(Cell::new(false));
        gateway.admin.set_reload({
            let wrong = Rc::clone(&wrong);
            move || if wrong.get() { Err("gw.toml:3: no".into()) } else { Ok("log.level".into()) }
        });
        assert_eq!(raw("reload").json()["data"]["err"], 0);
        wrong.set(true);
        let failed = raw("reload");
        assert_eq!((failed.status, &failed.json()["data"]), (409, &"gw.toml:3: no".into()));
        let last = raw("reload-fetch").json()["data"].clone();
        assert_eq!((&last["err"], &last["msg"]), (&1.into(), &"gw.toml:3: no".into()));
        assert_eq!(raw("x").status, 400);
        assert_eq!(raw("raw").json()["http_api"]["raw_api"]["allow_reload"], true);
        assert_eq!(gateway.get("/api/v1/events").json()["events"][0]["event"], "reload");
    });
}
