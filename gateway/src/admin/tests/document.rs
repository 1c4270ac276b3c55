//! The description of the API against what is there.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Methods by path, the slash at the end left out.
type Paths = BTreeMap<String, BTreeSet<String>>;

fn registered() -> Paths {
    let gateway = Gateway::new(1);
    let mut router = Router::new();
    gateway.admin.route(&mut router);
    gateway.admin.route_recordings(&mut router, None);
    let mut paths = Paths::new();
    for (pattern, methods) in router.routes() {
        // Those of the page are for people.
        let is_described =
            pattern.starts_with("/api") || matches!(pattern, "/metrics" | "/healthz");
        if !is_described || methods.is_empty() {
            continue;
        }
        let methods = methods.iter().map(|method| method.as_str().to_lowercase());
        paths.entry(pattern.trim_end_matches('/').into()).or_default().extend(methods);
    }
    paths
}

#[test]
fn every_route_is_described_and_every_description_has_its_route() {
    simulate(|| {
        let document: Value = serde_json::from_str(&api::document()).unwrap();
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        let described: Paths = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(path, item)| {
                let methods = item.as_object().unwrap().keys();
                (path.clone(), methods.filter(|key| *key != "parameters").cloned().collect())
            })
            .collect();
        assert_eq!(described, registered());
    });
}
