use axum::http::Uri;

/// What a request to the endpoint asks for. It is read exactly as the engine does
/// (`engineioxide::service::parser::RequestInfo`): who is taken for another one than he is there escapes what is decided here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    pub(super) fn of(uri: &'a Uri) -> Self {
        Self(uri.query().unwrap_or_default())
    }

    /// The session that it is of; none where it begins one.
    pub(super) fn session(self) -> Option<&'a str> {
        self.parts().find_map(|part| part.strip_prefix("sid="))
    }

    /// The session that it polls, or sends packets of that polls; none where it does neither.
    pub(super) fn session_polled(self) -> Option<&'a str> {
        self.session().filter(|_| self.is_polling())
    }

    pub(super) fn is_polling(self) -> bool {
        self.value("transport=") == Some("polling")
    }

    pub(super) fn is_websocket(self) -> bool {
        self.value("transport=") == Some("websocket")
    }

    /// Whether it is of version 3 of the protocol, and not of 4.
    pub(super) fn is_old(self) -> bool {
        self.value("EIO=") == Some("3")
    }

    /// The value of the first part that begins so, up to the next `=`.
    fn value(self, name: &str) -> Option<&'a str> {
        self.parts().find(|part| part.starts_with(name)).and_then(|part| part.split('=').nth(1))
    }

    fn parts(self) -> impl Iterator<Item = &'a str> {
        self.0.split('&')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuzz_queries() {
        crate::fuzzing::fuzz("queries", |bytes| {
            let Ok(uri) = [b"/socket.io/?", bytes].concat().try_into() else { return };
            let (uri, text): (Uri, _) = (uri, String::from_utf8_lossy(bytes));
            let query = Query::of(&uri);
            assert!(!query.is_polling() || !query.is_websocket(), "{text}");
            assert!(query.session().is_none_or(|session| text.contains(&format!("sid={session}"))), "{text}");
            // The engine begins a session exactly where no part of the query begins so.
            let begins = uri.query().unwrap_or_default().split('&').all(|part| !part.starts_with("sid="));
            assert_eq!(query.session().is_none(), begins, "{text}");
            let headers = axum::http::HeaderMap::new();
            crate::auth::Credentials::read(&serde_json::Value::Null, &headers, uri.query());
        });
    }

    #[test]
    fn is_read_as_the_engine_reads_it() {
        let read = |query: &str| {
            let uri: Uri = format!("/socket.io/?{query}").parse().unwrap();
            let query = Query::of(&uri);
            (query.is_polling(), query.is_websocket(), query.is_old(), query.session().map(str::to_owned))
        };
        let some = |session: &str| Some(session.to_owned());
        assert_eq!(read("EIO=4&transport=polling&sid=a"), (true, false, false, some("a")));
        assert_eq!(read("EIO=3&transport=polling"), (true, false, true, None));
        assert_eq!(read("sid=a&EIO=4&transport=websocket&sid=b"), (false, true, false, some("a")));
        assert_eq!(read("xtransport=websocket&xEIO=3&xsid=a"), (false, false, false, None));
        // Nobody asks like this but who has something in mind.
        assert_eq!(read("EIO=3=&transport=polling=4&sid=a=b"), (true, false, true, some("a=b")));
        assert_eq!(read("EIO=4&EIO=3&transport=websocket=&transport=polling"), (false, true, false, None));
        assert_eq!(read("sid="), (false, false, false, some("")));
    }
}
