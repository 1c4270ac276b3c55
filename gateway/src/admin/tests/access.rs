//! Who gets an answer.

use super::*;

/// `admin:correct horse`
const BASIC: &str = "Authorization: Basic YWRtaW46Y29ycmVjdCBob3JzZQ==\r\n";
const BEARER: &str = "Authorization: Bearer battery staple\r\n";

fn locked() -> Gateway {
    let access = AccessSettings {
        token: Some(Credential::new("battery staple")),
        user: Some(("admin".into(), Credential::of_user("admin", "correct horse"))),
        ..AccessSettings::default()
    };
    Gateway::guarded(10, access)
}

const LOOPBACK: &str = "127.0.0.1:1234";
const FAR: &str = "192.0.2.1:1234";

#[test]
fn from_elsewhere_it_takes_a_credential() {
    simulate(|| {
        let gateway = locked();
        for path in ["/api/v1/streams", "/api/v1/config", "/api/v1/coroutines", "/metrics"] {
            let answer = gateway.get(path);
            assert_eq!((answer.status, &answer.json()["code"]), (401, &401.into()), "{path}");
            assert!(answer.head.contains("www-authenticate: Basic realm="), "{}", answer.head);
            assert!(answer.head.contains("Bearer realm="), "{}", answer.head);
            for right in [BASIC, BEARER, "authorization: bEARER battery staple\r\n"] {
                assert_eq!(gateway.ask("GET", path, right).status, 200, "{path} {right}");
            }
        }
        // A script asks its user itself.
        let script = gateway.ask("GET", "/api/v1/streams", "Sec-Fetch-Mode: cors\r\n");
        assert!(script.head.contains("www-authenticate: Bearer realm=\"thalweg\"\r\n"));
        for path in ["/healthz", "/api/openapi.json"] {
            assert_eq!(gateway.get(path).status, 200, "{path}");
        }
    });
}

#[test]
fn a_program_on_this_machine_needs_none_but_must_not_be_a_proxy_or_a_rebound_name() {
    simulate(|| {
        let gateway = locked();
        let ask = |address: &str, host: &str, headers: &str| {
            gateway.ask_from(address, host, "GET", "/api/v1/streams", headers).status
        };
        // The address that the connection came to is 192.0.2.2.
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "gw:8080", "192.0.2.2:8080"] {
            assert_eq!(ask(LOOPBACK, host, ""), 200, "{host}");
            assert_eq!(ask(FAR, host, ""), 401, "{host}");
        }
        assert_eq!(ask("[::1]:5", "localhost", ""), 200);
        assert_eq!(ask("[::ffff:127.0.0.1]:5", "localhost", ""), 200);
        for host in ["evil.example", "localhost.evil.example", "gw", "gw:81", "192.0.2.3", "[::2]"]
        {
            assert_eq!(ask(LOOPBACK, host, ""), 401, "{host}");
        }
        for header in ["Forwarded: for=192.0.2.9", "X-Forwarded-For: 192.0.2.9", "X-Real-IP: ::1"] {
            assert_eq!(ask(LOOPBACK, "localhost", &format!("{header}\r\n")), 401, "{header}");
        }
    });
}

#[test]
fn a_change_takes_the_credential_or_a_page_of_our_own() {
    simulate(|| {
        let gateway = locked();
        let delete = |address: &str, headers: &str| {
            gateway
                .ask_from(address, "localhost:8080", "DELETE", "/api/v1/clients/9", headers)
                .status
        };
        let own = "Origin: http://localhost:8080\r\n";
        let evil = "Origin: http://evil.example\r\n";
        assert_eq!(delete(LOOPBACK, ""), 403);
        assert_eq!(delete(LOOPBACK, own), 404, "it may, but there is no such client");
        assert_eq!(delete(LOOPBACK, evil), 403);
        assert_eq!(delete(FAR, own), 401, "anybody can say that");
        assert_eq!(delete(FAR, BEARER), 404);
        assert_eq!(delete(FAR, &format!("{BASIC}{own}")), 404);
        assert_eq!(delete(FAR, &format!("{BASIC}{evil}")), 403, "a browser sends what it knows");
        assert_eq!(delete(FAR, &format!("{BASIC}Sec-Fetch-Site: cross-site\r\n")), 403);
        // A name on the list is ours, whatever a proxy made of the Host.
        assert_eq!(delete(FAR, &format!("{BASIC}Origin: https://gw:8080\r\n")), 404);
        let reload = |headers| {
            gateway.ask_from(LOOPBACK, "localhost", "GET", "/api/v1/raw?rpc=reload", headers)
        };
        assert_eq!(reload("").status, 403);
        assert_eq!(reload(BEARER).status, 409, "there is nothing to reload here");
        // Who rebinds a name to us has the same origin as its own Host, which is on no list.
        let open = Gateway::new(1);
        let rebound = open.ask_from(FAR, "evil.example", "DELETE", "/api/v1/clients/9", evil);
        assert_eq!(rebound.status, 403);
    });
}

#[test]
fn guessing_is_slow_and_bounded_for_each_address() {
    simulate(|| {
        let gateway = locked();
        let ask = |address: &str, headers: &str| {
            gateway.ask_from(address, "gw:8080", "GET", "/api/v1/streams", headers)
        };
        let wrong = "Authorization: Bearer battery stable\r\n";
        let begun = rt::now();
        let statuses: Vec<u16> = (0..20).map(|_| ask(FAR, wrong).status).collect();
        assert!(rt::now() - begun >= 10 * Duration::from_millis(500));
        // Some come back while the answers are late.
        let tried = statuses.iter().filter(|&&status| status == 401).count();
        assert!((10..15).contains(&tried), "{statuses:?}");
        let limited = ask(FAR, BEARER);
        assert_eq!(limited.status, 429, "the right one is not tried either");
        assert!(limited.head.contains("retry-after: 2"), "{}", limited.head);
        assert_eq!(ask("192.0.2.77:1", BEARER).status, 200, "nobody else is slowed down");
        rt::sleep(Duration::from_secs(3)).unwrap();
        assert_eq!(ask(FAR, BEARER).status, 200);
        // Addresses of one IPv6 network are one.
        let mut statuses = (0..20).map(|n| ask(&format!("[2001:db8::{n}]:1"), wrong).status);
        assert!(statuses.any(|status| status == 429));
        assert_eq!(ask("[2001:db8:0:1::1]:1", BEARER).status, 200);
    });
}

#[test]
fn what_is_wrong_with_a_credential_is_no_crash() {
    simulate(|| {
        let gateway = locked();
        for (n, wrong) in ["", "Basic", "Basic ", "Basic ####", "Bearer", "Digest x", "Basic OmE="]
            .iter()
            .enumerate()
        {
            let address = format!("192.0.2.{}:1", 10 + n);
            let header = format!("Authorization: {wrong}\r\n");
            let answer = gateway.ask_from(&address, "gw", "GET", "/api/v1/streams", &header);
            assert_eq!(answer.status, 401, "{wrong}");
        }
        let twice = format!("{BEARER}{BASIC}");
        assert_eq!(gateway.ask("GET", "/api/v1/streams", &twice).status, 401);
    });
}

#[test]
fn metrics_may_be_open_alone() {
    simulate(|| {
        let access = AccessSettings { metrics_open: true, ..AccessSettings::default() };
        let gateway = Gateway::guarded(1, access);
        assert_eq!(gateway.get("/metrics").status, 200);
        let denied = gateway.get("/api/v1/streams");
        assert_eq!(denied.status, 401);
        assert!(denied.body.contains("none is configured"), "{}", denied.body);
    });
}

#[test]
fn scripts_of_other_pages_get_only_what_is_open() {
    simulate(|| {
        let ask = |gateway: &Gateway, callback: &str| {
            let target = format!("/api/v1/versions?callback={callback}");
            gateway.ask_from(LOOPBACK, "localhost", "GET", &target, "")
        };
        assert_eq!(ask(&locked(), "show").status, 400);
        let open = Gateway::new(1);
        let script = ask(&open, "a.show");
        assert!(script.body.starts_with("/**/a.show({\"code\":0,"), "{}", script.body);
        assert!(script.head.contains("content-type: text/javascript"), "{}", script.head);
        for wrong in ["", "alert(1)//", "a%0Ab", "%3Cscript%3E"] {
            assert_eq!(ask(&open, wrong).status, 400, "{wrong}");
        }
    });
}
