//! Which resources this build does something with; the others stop the start.

use outrigger_resources::component::Component;
use outrigger_resources::mistake::Warning;
use outrigger_resources::property::PropertyValue;
use outrigger_resources::resources::Resources;

use super::Mistakes;

/// Types of components that this build has, as `spec.type` names them.
pub(crate) const TYPES: &[&str] = &[];

/// Takes out what cannot be used: refused, or warned of where the resource says that this is no reason to stop.
/// `denied` are types that a Configuration denies, in small letters.
pub(crate) fn keep(
    mut resources: Resources,
    denied: &[String],
    warnings: &mut Vec<Warning>,
    mistakes: &mut Mistakes,
) -> Resources {
    resources.components.retain(|component| {
        let allowed = !is_denied(component, denied);
        if !allowed {
            let Component { name, component_type, version, .. } = component;
            let text = format!(
                "the component `{name}` is left out: spec.components.deny of the Configuration denies {component_type} ({version})"
            );
            warnings.push(Warning { place: component.place.clone(), text });
        }
        allowed
    });
    resources.components.retain(|component| match refusal(component) {
        None => true,
        Some(text) if component.ignore_errors => {
            let text = format!("{text}; it is left out, for it has spec.ignoreErrors: true");
            warnings.push(Warning { place: component.place.clone(), text });
            false
        }
        Some(text) => {
            let fix = "remove it, or write spec.ignoreErrors: true to start without it";
            mistakes.add_file(format!("{}{text}; {fix}", component.place));
            false
        }
    });
    for endpoint in &resources.http_endpoints {
        let fix = "is not supported yet, see docs/not-supported.md; remove it";
        mistakes.add_file(format!("{}the HTTPEndpoint `{}` {fix}", endpoint.place, endpoint.name));
    }
    resources
}

/// Whether its type, or its type in its version, is denied.
fn is_denied(component: &Component, denied: &[String]) -> bool {
    let its_type = component.component_type.to_ascii_lowercase();
    let versioned = format!("{its_type}/{}", component.version.to_ascii_lowercase());
    denied.iter().any(|denied| *denied == its_type || *denied == versioned)
}

/// Why a component cannot be had.
fn refusal(component: &Component) -> Option<String> {
    let Component { name, component_type, version, .. } = component;
    if !TYPES.contains(&component_type.as_str()) {
        let supported = if TYPES.is_empty() { "none yet".to_owned() } else { TYPES.join(", ") };
        return Some(format!(
            "the component `{name}` is of type {component_type} ({version}), which this build does not have \
             (supported: {supported}; see docs/not-supported.md)"
        ));
    }
    let secret = component.metadata.iter().find(|property| matches!(property.value, PropertyValue::Secret(_)))?;
    Some(format!(
        "the component `{name}` takes `{}` from a secret store, and this build has none: write envRef or value",
        secret.name
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_resources::kind::Scope;
    use outrigger_resources::resources::load;
    use outrigger_resources::source::Source;

    fn kept(text: &str) -> (Resources, Vec<String>, Vec<String>) {
        let scope = Scope { app_id: "orders", namespace: None };
        let loaded = load(&[Source::new("r.yaml", text)], scope, &|_| None).unwrap();
        let (mut warnings, mut mistakes) = (Vec::new(), Mistakes::default());
        let resources = keep(loaded.value, &["state.denied/v1".to_owned()], &mut warnings, &mut mistakes);
        (
            resources,
            warnings.iter().map(ToString::to_string).collect(),
            mistakes.iter().map(ToString::to_string).collect(),
        )
    }

    const COMPONENT: &str =
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: store}\nspec: {type: state.nowhere";

    #[test]
    fn a_component_of_an_unknown_type_stops_the_start_by_name() {
        let (resources, warnings, mistakes) = kept(&format!("{COMPONENT}}}\n"));
        assert!(resources.components.is_empty() && warnings.is_empty());
        assert_eq!(mistakes.len(), 1);
        assert!(
            mistakes[0].starts_with(
                "r.yaml:1: the component `store` is of type state.nowhere (v1), which this build does not have"
            ),
            "{mistakes:?}"
        );
        assert!(mistakes[0].ends_with("remove it, or write spec.ignoreErrors: true to start without it"));
    }

    #[test]
    fn one_of_a_denied_type_is_left_out_with_a_warning() {
        let (_, warnings, mistakes) = kept(&COMPONENT.replace("nowhere", "Denied}"));
        assert!(mistakes.is_empty(), "{mistakes:?}");
        assert!(warnings[0].ends_with("denies state.Denied (v1)"), "{warnings:?}");
    }

    #[test]
    fn one_whose_errors_are_to_be_ignored_is_left_out_with_a_warning() {
        let (resources, warnings, mistakes) = kept(&format!("{COMPONENT}, ignoreErrors: true}}\n"));
        assert!(resources.components.is_empty() && mistakes.is_empty());
        assert!(warnings[0].ends_with("it is left out, for it has spec.ignoreErrors: true"), "{warnings:?}");
    }
}
