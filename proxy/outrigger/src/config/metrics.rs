//! How metrics tell HTTP requests apart: `spec.metrics.http`.

use outrigger_api::{Labels, Otherwise, Paths};
use outrigger_resources::configuration::HttpMetrics;

use super::Mistakes;
use super::table::Persona;

/// The labels of HTTP metrics. What is not said is, as `daprd`, what stock does (each path
/// has a label of its own), and else the name of the endpoint.
pub(crate) fn labels(http: &HttpMetrics, persona: Persona, mistakes: &mut Mistakes) -> Labels {
    let otherwise = match (http.increased_cardinality, persona) {
        (Some(true), _) | (None, Persona::Daprd) => Otherwise::Path,
        (Some(false), _) => Otherwise::Nothing,
        (None, Persona::Outrigger) => Otherwise::Endpoint,
    };
    let paths = Paths::new(&http.path_matching, otherwise).unwrap_or_else(|error| {
        mistakes.add(
            "spec.metrics.http.pathMatching",
            Some(&error.pattern),
            error.reason,
            "write a path with {name} for a segment, and {name...} at the end for the rest",
        );
        Paths::default()
    });
    Labels { paths, exclude_verbs: http.exclude_verbs }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_that_is_none_is_a_mistake() {
        let mut mistakes = Mistakes::default();
        let http = HttpMetrics { path_matching: vec!["/a{b}".to_owned()], ..HttpMetrics::default() };
        labels(&http, Persona::Daprd, &mut mistakes);
        assert!(mistakes.to_string().contains("/a{b}"), "{mistakes}");
    }
}
