//! What access control is in HTTP: where credentials are in a request, and how a refusal is answered.
//!
//! Credentials come as `Authorization: Basic` or `Bearer` (RFC 7617, RFC 6750), or in the query, which players use that cannot set
//! headers; what the header says counts first.

use crate::{
    auth::{Action, Ask, Credentials, Refused},
    http::{Exchange, Request, Response, StatusCode, header},
    hub::Client,
    key::StreamKey,
    secret::Secret,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use tracing::Span;

/// What a request asks for, and what it shows for it. The client is known by the address that the request comes from, from here
/// on: behind a trusted proxy it may be another than the connection's.
///
/// # Errors
///
/// When too many connections come from there.
pub fn ask(
    exchange: &Exchange<'_, '_>,
    action: Action,
    key: &StreamKey,
    protocol: &'static str,
    client: &Client,
) -> Result<Ask, Refused> {
    let request = exchange.request();
    let origin = exchange.peer().address;
    if client.peer().ip() != origin.ip().to_canonical() {
        let refusal = client.comes_from(origin);
        Span::current().record("origin", tracing::field::display(client.peer()));
        if let Some(refusal) = refusal {
            return Err(Refused::Unavailable(refusal.to_string()));
        }
    }
    let ask = Ask::new(action, key, protocol, client.peer());
    let mut ask = ask.of_client(client.id.0).with_query(request.target().query());
    add_authorization(request, &mut ask.credentials);
    ask.page_url = request.header(&header::REFERER).unwrap_or_default().into();
    Ok(ask)
}

/// The answer to who may not.
pub fn refusal(refused: &Refused) -> Response {
    let status = match refused {
        Refused::Unauthorized(_) => StatusCode::UNAUTHORIZED,
        Refused::Forbidden(_) => StatusCode::FORBIDDEN,
        Refused::NotFound(_) => StatusCode::NOT_FOUND,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let answer = Response::text(status, &format!("{refused}\n"));
    match refused {
        // RFC 9110 §11.6.1: which schemes would do. A browser asks its user for what Basic needs.
        Refused::Unauthorized(_) => {
            answer.with(header::WWW_AUTHENTICATE, r#"Basic realm="thalweg", charset="UTF-8""#)
        }
        // RFC 9110 §10.2.3. Who cannot be asked now, or has too much to do, may be there soon.
        Refused::Unavailable(_) => answer.with(header::RETRY_AFTER, "5"),
        _ => answer,
    }
}

fn add_authorization(request: &Request, credentials: &mut Credentials) {
    let Some(text) = request.headers().get(header::AUTHORIZATION) else { return };
    let Some((scheme, value)) = text.to_str().ok().and_then(|text| text.split_once(' ')) else {
        return;
    };
    let value = value.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        credentials.token = Some(value.into());
    } else if scheme.eq_ignore_ascii_case("basic")
        && let Some((user, password)) = basic(value)
    {
        credentials.user = Some(user);
        credentials.password = Some(password);
    }
}

/// User and password of RFC 7617 §2.
fn basic(value: &str) -> Option<(String, Secret)> {
    let text = String::from_utf8(BASE64.decode(value).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_credentials_are_a_name_and_all_behind_the_first_colon() {
        let encoded = BASE64.encode("me:a:b");
        assert_eq!(basic(&encoded), Some(("me".into(), "a:b".into())));
        assert_eq!(basic("!"), None);
        assert_eq!(basic(&BASE64.encode("me")), None);
        assert_eq!(basic(&BASE64.encode([b'a', b':', 0xff])), None);
    }
}
