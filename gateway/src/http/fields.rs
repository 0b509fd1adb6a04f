//! Header fields and URLs between HTTP and the request channel.

use hyper::Request;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use sprout_agent::RequestHead;

/// Fields that belong to one connection and not to the message (RFC 9110, 7.6.1).
const CONNECTION_FIELDS: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Host in the URL of a request that names none, or none that can be in a URL.
const DEFAULT_HOST: &str = "localhost";

/// The head of a request as the function gets it. `rest` is the path below the function.
pub(super) fn request_head<B>(id: &str, rest: &str, request: &Request<B>) -> RequestHead {
    let headers = request.headers();
    let host = request
        .uri()
        .authority()
        .map(|authority| authority.as_str())
        .or_else(|| {
            headers
                .get(header::HOST)
                .and_then(|host| host.to_str().ok())
        })
        .filter(|host| is_host(host))
        .unwrap_or(DEFAULT_HOST);
    let query = request.uri().query();
    let (mark, query) = query.map_or(("", ""), |query| ("?", query));
    let url = format!("http://{host}{rest}{mark}{query}");
    let mut fields: Vec<(String, String)> = headers
        .iter()
        .filter(|(name, _)| passes(name, headers) && *name != super::REQUEST_ID)
        .map(|(name, value)| (name.as_str().to_owned(), to_text(value)))
        .collect();
    fields.push((super::REQUEST_ID.as_str().to_owned(), id.to_owned()));
    RequestHead {
        id: id.to_owned(),
        method: request.method().as_str().to_owned(),
        url,
        headers: fields,
    }
}

/// The fields of a function's response, `None` if one is not allowed in HTTP. The length of a body
/// is the gateway's to say; only an answer without one (to HEAD) keeps what the function says.
pub(super) fn response_headers(
    fields: Vec<(String, String)>,
    keep_length: bool,
) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let value = HeaderValue::from_bytes(&to_bytes(&value)?).ok()?;
        if name != header::CONTENT_LENGTH || (keep_length && is_length(&value)) {
            headers.try_append(name, value).ok()?;
        }
    }
    let passing = headers.clone();
    for name in passing.keys().filter(|name| !passes(name, &passing)) {
        headers.remove(name);
    }
    Some(headers)
}

/// Whether a field goes through a gateway.
fn passes(name: &HeaderName, headers: &HeaderMap) -> bool {
    let listed = |value: &HeaderValue| {
        let text = value.to_str().unwrap_or_default();
        text.split(',')
            .any(|entry| entry.trim().eq_ignore_ascii_case(name.as_str()))
    };
    !CONNECTION_FIELDS.contains(&name.as_str())
        && !headers.get_all(header::CONNECTION).iter().any(listed)
}

fn is_length(value: &HeaderValue) -> bool {
    !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit)
}

fn is_host(host: &str) -> bool {
    !host.is_empty()
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
}

/// One character for each byte (ISO 8859-1).
fn to_text(value: &HeaderValue) -> String {
    value
        .as_bytes()
        .iter()
        .map(|byte| char::from(*byte))
        .collect()
}

fn to_bytes(text: &str) -> Option<Vec<u8>> {
    text.chars()
        .map(|character| u8::try_from(character).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.into(), value.into())
    }

    #[test]
    fn the_function_sees_its_own_path_and_the_message_s_fields() {
        let request = Request::post("/f/hello/a/b?c=%20d")
            .header("host", "example.org:8080")
            .header("x-request-id", "forged")
            .header("connection", "close, x-hop")
            .header("x-hop", "1")
            .header("te", "trailers")
            .header("x-raw", HeaderValue::from_bytes(b"caf\xe9").unwrap())
            .body(())
            .unwrap();
        let head = request_head("id1", "/a/b", &request);
        assert_eq!(head.url, "http://example.org:8080/a/b?c=%20d");
        assert_eq!(
            head.headers,
            [
                pair("host", "example.org:8080"),
                pair("x-raw", "caf\u{e9}"),
                pair("x-request-id", "id1")
            ]
        );
    }

    #[test]
    fn a_host_that_would_change_the_url_is_not_used() {
        for host in ["", "a/b", "a@b", "a?b", "a#b", "a b"] {
            let request = Request::get("/f/x").header("host", host).body(()).unwrap();
            assert_eq!(
                request_head("1", "/", &request).url,
                "http://localhost/",
                "{host:?}"
            );
        }
    }

    #[test]
    fn a_response_cannot_set_the_connection_s_fields_or_its_length() {
        let fields = vec![
            pair("content-length", "5"),
            pair("transfer-encoding", "chunked"),
            pair("connection", "x-private"),
            pair("x-private", "1"),
            pair("set-cookie", "a"),
            pair("set-cookie", "b"),
        ];
        let headers = response_headers(fields.clone(), false).unwrap();
        assert_eq!(headers.len(), 2);
        assert_eq!(headers.get_all("set-cookie").iter().count(), 2);
        let headers = response_headers(fields, true).unwrap();
        assert_eq!(headers["content-length"], "5");
    }

    #[test]
    fn fields_http_does_not_allow_are_refused() {
        for (name, value) in [
            ("a b", "1"),
            ("", "1"),
            ("a", "x\r\ny: z"),
            ("a", "\u{100}"),
        ] {
            assert_eq!(
                response_headers(vec![pair(name, value)], false),
                None,
                "{name:?}"
            );
        }
    }
}
