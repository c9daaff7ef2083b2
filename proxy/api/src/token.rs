//! The token that a caller of the API must show.

use std::hint::black_box;

use ::http::HeaderMap;
use outrigger_wire::header;

/// The API's token (`DAPR_API_TOKEN`). Compared in time that does not depend on where
/// two tokens differ; never shown.
pub struct ApiToken(Box<[u8]>);

/// How a caller failed to show the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// It showed none.
    Missing,
    /// It showed another one.
    Mismatch,
}

impl ApiToken {
    /// This token; `None` for an empty text, which asks for none.
    pub fn new(token: &str) -> Option<Self> {
        (!token.is_empty()).then(|| Self(token.as_bytes().into()))
    }

    /// Whether the first `dapr-api-token` of these headers is the token.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Rejected> {
        let shown = headers.get(header::API_TOKEN).ok_or(Rejected::Missing)?;
        if same(&self.0, shown.as_bytes()) { Ok(()) } else { Err(Rejected::Mismatch) }
    }
}

impl std::fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiToken(…)")
    }
}

fn same(ours: &[u8], shown: &[u8]) -> bool {
    let mut difference = u8::from(ours.len() != shown.len());
    for (index, byte) in ours.iter().enumerate() {
        // A short text is compared with itself: as long a walk, and lost already.
        let other = shown.get(index).unwrap_or(byte);
        difference = black_box(difference | (byte ^ other));
    }
    difference == 0
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;

    use super::*;

    #[test]
    fn only_the_whole_token_is_the_token() {
        let token = ApiToken::new("secret").unwrap();
        for (shown, result) in [
            (Some("secret"), Ok(())),
            (None, Err(Rejected::Missing)),
            (Some(""), Err(Rejected::Mismatch)),
            (Some("secre"), Err(Rejected::Mismatch)),
            (Some("secrets"), Err(Rejected::Mismatch)),
            (Some("Secret"), Err(Rejected::Mismatch)),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(shown) = shown {
                headers.insert(header::API_TOKEN, HeaderValue::from_static(shown));
            }
            assert_eq!(token.check(&headers), result, "{shown:?}");
        }
    }

    #[test]
    fn a_token_never_shows_itself() {
        assert!(!format!("{:?}", ApiToken::new("secret")).contains("secret"));
        assert!(ApiToken::new("").is_none());
    }
}
