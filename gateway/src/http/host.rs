//! The host a request is for.

use hyper::Version;
use hyper::header::{self, HeaderMap};
use hyper::http::Uri;
use url::Url;

/// Host in the URL of a request that need not name one and does not.
const DEFAULT_HOST: &str = "localhost";

/// Host and port as URLs have them, if what the request says makes a URL: RFC 9112, 3.2, and the
/// URL standard, by which functions read it.
pub(super) fn host_of(
    uri: &Uri,
    version: Version,
    headers: &HeaderMap,
) -> Result<String, &'static str> {
    let mut fields = headers.get_all(header::HOST).iter();
    let field = match (fields.next(), fields.next()) {
        (_, Some(_)) => return Err("the request has more than one Host field"),
        (Some(value), None) => Some(value.to_str().map_err(|_| "the Host field is no host")?),
        (None, None) => None,
    };
    let old = version < Version::HTTP_11;
    let named = match field {
        None if !old => return Err("the request has no Host field"),
        None => None,
        Some("") if old => None,
        Some(host) => Some(checked(host).ok_or("the Host field is no host")?),
    };
    match (uri.scheme_str(), uri.authority()) {
        (None, None) => Ok(named.unwrap_or_else(|| DEFAULT_HOST.to_owned())),
        // The target's own host counts, but the field has to be one all the same.
        (Some("http" | "https"), Some(authority)) => {
            checked(authority.as_str()).ok_or("the request target names no host")
        }
        _ => Err("the request target is no URL of HTTP"),
    }
}

/// The host, with its port if it has one, as it is in a URL.
fn checked(host: &str) -> Option<String> {
    // What separates the parts of a URL, or is dropped from one, is in no host (RFC 3986, 3.2.2).
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte);
    if host.is_empty() || !host.bytes().all(allowed) {
        return None;
    }
    let url = Url::parse(&format!("http://{host}/")).ok()?;
    let name = url.host_str()?;
    Some(match url.port() {
        Some(port) => format!("{name}:{port}"),
        None => name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;
    use hyper::header::HeaderValue;

    fn host(version: Version, target: &str, hosts: &[&[u8]]) -> Result<String, &'static str> {
        let mut request = Request::get(target).version(version);
        for host in hosts {
            request = request.header("host", HeaderValue::from_bytes(host).unwrap());
        }
        let request = request.body(()).unwrap();
        host_of(request.uri(), request.version(), request.headers())
    }

    #[test]
    fn hosts_are_named_as_in_urls() {
        for (field, expected) in [
            ("example.org:8080", "example.org:8080"),
            ("EXAMPLE.org", "example.org"),
            ("example.org:80", "example.org"),
            ("example.org:", "example.org"),
            ("[::1]:8080", "[::1]:8080"),
            ("127.1", "127.0.0.1"),
            ("a_b.c~d", "a_b.c~d"),
            ("xn--mnchen-3ya.example", "xn--mnchen-3ya.example"),
        ] {
            let found = host(Version::HTTP_11, "/f/x", &[field.as_bytes()]);
            assert_eq!(found.as_deref(), Ok(expected), "{field}");
        }
    }

    #[test]
    fn fields_that_are_no_host_are_refused() {
        let bad: [&[u8]; 27] = [
            b"",
            b"localhost:99999",
            b"localhost:port",
            b"[::1",
            b"::1",
            b"[::1]]",
            b"[::g]",
            b":80",
            b"a b",
            b"foo|bar",
            b"a.example/path",
            b"a?x=1",
            b"a#b",
            b"user@a.example",
            b"1.2.3.4.5.6:x",
            b"1.2.3.256",
            b"a\\b",
            b"a\tb",
            b"<a>",
            b"a^b",
            b"a,b,c:80:80",
            b"%",
            b"a%00b",
            b"xn--a",
            b"m\xfcnchen",
            b"\xc3\xbc",
            b"a:-1",
        ];
        for field in bad {
            let shown = String::from_utf8_lossy(field);
            assert!(host(Version::HTTP_11, "/f/x", &[field]).is_err(), "{shown}");
        }
    }

    #[test]
    fn a_host_is_needed_once_since_http_1_1() {
        assert!(host(Version::HTTP_11, "/f/x", &[]).is_err());
        assert!(host(Version::HTTP_11, "/f/x", &[b"a", b"a"]).is_err());
        assert!(host(Version::HTTP_10, "/f/x", &[b"a", b"a"]).is_err());
        assert!(host(Version::HTTP_10, "/f/x", &[b"a:x"]).is_err());
        for none in [&[][..], &[&b""[..]]] {
            let found = host(Version::HTTP_10, "/f/x", none);
            assert_eq!(found.as_deref(), Ok(DEFAULT_HOST));
        }
    }

    #[test]
    fn the_host_of_an_absolute_target_counts() {
        let found = host(Version::HTTP_11, "http://B.example:81/f/x", &[b"a"]);
        assert_eq!(found.as_deref(), Ok("b.example:81"));
        for target in [
            "http://a@b/f/x",
            "http://b:99999/f/x",
            "ftp://b/f/x",
            "b:80",
        ] {
            assert!(host(Version::HTTP_11, target, &[b"a"]).is_err(), "{target}");
        }
        assert!(host(Version::HTTP_11, "http://b/f/x", &[]).is_err());
    }
}
