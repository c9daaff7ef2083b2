//! Which app a request's headers name.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The app that the header `name` names. Two values name none: what they say together is
/// refused as an app ID later, for no reader may choose between them.
pub(crate) fn app(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let mut named = headers.get_all(name).iter();
    let (first, second) = (named.next()?, named.next());
    match second {
        None => Some(first.clone()),
        Some(second) => {
            let both = [first.as_bytes(), b", ", second.as_bytes()].concat();
            Some(HeaderValue::from_bytes(&both).unwrap_or_else(|_| HeaderValue::from_static("two app IDs")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_names_are_no_name() {
        let name = HeaderName::from_static("dapr-app-id");
        let mut headers = HeaderMap::new();
        assert_eq!(app(&headers, &name), None);
        headers.append(&name, HeaderValue::from_static("orders"));
        assert_eq!(app(&headers, &name).unwrap(), "orders");
        headers.append(&name, HeaderValue::from_static("admin"));
        assert_eq!(app(&headers, &name).unwrap(), "orders, admin");
    }
}
