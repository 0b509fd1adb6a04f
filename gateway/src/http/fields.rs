//! Header fields and URLs between HTTP and the request channel.

use std::collections::HashSet;

use hyper::Request;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use sprout_agent::RequestHead;
use thiserror::Error;

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

/// The head of a request for `host` as the function gets it. `rest` is the path below the function.
pub(super) fn request_head<B>(
    id: &str,
    host: &str,
    rest: &str,
    request: &Request<B>,
) -> RequestHead {
    let headers = request.headers();
    let hop_by_hop = ConnectionFields::of(headers);
    let query = request.uri().query();
    let (mark, query) = query.map_or(("", ""), |query| ("?", query));
    let url = format!("http://{host}{rest}{mark}{query}");
    let mut fields: Vec<(String, String)> = headers
        .iter()
        .filter(|(name, _)| !hop_by_hop.has(name) && *name != super::REQUEST_ID)
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

/// Why a function's response has no fields for a client.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum FieldsError {
    /// HTTP does not allow it.
    #[error("it has a header field that HTTP does not allow: {0:?}")]
    Invalid(String),
    /// There are more than configured.
    #[error("it has {0} header fields; the limit is {1} (--max-header-fields)")]
    TooMany(usize, usize),
    /// They are larger than configured.
    #[error("its header fields have {0} bytes; the limit is {1} (--max-header-size)")]
    TooLarge(usize, usize),
}

/// The fields of a function's response, of which at most `limits` (number, bytes) go through. The
/// length of a body is the gateway's to say; only an answer without one (to HEAD) keeps what the
/// function says.
pub(super) fn response_headers(
    fields: Vec<(String, String)>,
    keep_length: bool,
    (most, largest): (usize, usize),
) -> Result<HeaderMap, FieldsError> {
    if fields.len() > most {
        return Err(FieldsError::TooMany(fields.len(), most));
    }
    // As they are sent: `name: value\r\n`, a byte for each character of a value.
    let length = |(name, value): &(String, String)| name.len() + value.chars().count() + 4;
    let size = fields.iter().map(length).sum();
    if size > largest {
        return Err(FieldsError::TooLarge(size, largest));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let invalid = || FieldsError::Invalid(name.clone());
        let field = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
        let bytes = to_bytes(&value).ok_or_else(invalid)?;
        let value = HeaderValue::from_bytes(&bytes).map_err(|_| invalid())?;
        if field != header::CONTENT_LENGTH || (keep_length && is_length(&value)) {
            headers.try_append(field, value).map_err(|_| invalid())?;
        }
    }
    ConnectionFields::of(&headers).remove_from(&mut headers);
    Ok(headers)
}

/// The fields of a message that do not go through a gateway.
struct ConnectionFields {
    /// Those the message itself says are its connection's, in lower case.
    listed: HashSet<String>,
}

impl ConnectionFields {
    fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::CONNECTION).iter();
        let texts = values.filter_map(|value| value.to_str().ok());
        let names = texts.flat_map(|text| text.split(','));
        Self {
            listed: names.map(|name| name.trim().to_ascii_lowercase()).collect(),
        }
    }

    fn has(&self, name: &HeaderName) -> bool {
        CONNECTION_FIELDS.contains(&name.as_str()) || self.listed.contains(name.as_str())
    }

    fn remove_from(&self, headers: &mut HeaderMap) {
        let names: Vec<HeaderName> = headers
            .keys()
            .filter(|name| self.has(name))
            .cloned()
            .collect();
        for name in names {
            headers.remove(name);
        }
    }
}

fn is_length(value: &HeaderValue) -> bool {
    !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit)
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

    const LIMITS: (usize, usize) = (10, 1000);

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
        let head = request_head("id1", "example.org:8080", "/a/b", &request);
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
    fn a_response_cannot_set_the_connection_s_fields_or_its_length() {
        let fields = vec![
            pair("content-length", "5"),
            pair("transfer-encoding", "chunked"),
            pair("connection", "x-private"),
            pair("x-private", "1"),
            pair("set-cookie", "a"),
            pair("set-cookie", "b"),
        ];
        let headers = response_headers(fields.clone(), false, LIMITS).unwrap();
        assert_eq!(headers.len(), 2);
        assert_eq!(headers.get_all("set-cookie").iter().count(), 2);
        let headers = response_headers(fields, true, LIMITS).unwrap();
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
            let refused = response_headers(vec![pair(name, value)], false, LIMITS);
            assert_eq!(refused, Err(FieldsError::Invalid(name.into())));
        }
    }

    #[test]
    fn more_fields_or_bytes_than_the_limits_are_refused() {
        let fields = |count| vec![pair("a", "\u{e9}"); count];
        let headers = |count, limits| response_headers(fields(count), false, limits);
        assert_eq!(headers(3, (3, 18)).map(|headers| headers.len()), Ok(3));
        assert_eq!(headers(4, (3, 99)), Err(FieldsError::TooMany(4, 3)));
        assert_eq!(headers(3, (3, 17)), Err(FieldsError::TooLarge(18, 17)));
        // More than the map of fields can hold.
        let many = (0..40_000).map(|n| pair(&format!("x-{n}"), "")).collect();
        let refused = response_headers(many, false, (usize::MAX, usize::MAX));
        assert!(matches!(refused, Err(FieldsError::Invalid(_))));
    }
}
