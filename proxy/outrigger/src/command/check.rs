//! `outrigger check`: reads configuration as a sidecar would, and starts nothing.

use serde_json::json;

use super::cli::{Check, Output};
use super::many;
use super::run::Plan;
use crate::config::Mistakes;

/// Reports every mistake with its file and line; the exit code is 1 when there is one.
pub(crate) fn check(arguments: &Check) -> u8 {
    let (mistakes, warnings) = found(arguments);
    let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    match arguments.output {
        Output::Json => println!("{}", json!({ "mistakes": mistakes, "warnings": warnings })),
        Output::Table => {
            warnings.iter().for_each(|warning| println!("warning: {warning}"));
            mistakes.iter().for_each(|mistake| println!("mistake: {mistake}"));
            match mistakes.len() {
                0 => println!("No mistake found."),
                1 => println!("1 mistake found."),
                many => println!("{many} mistakes found."),
            }
        }
    }
    u8::from(!mistakes.is_empty())
}

fn found(arguments: &Check) -> (Mistakes, Vec<String>) {
    let mut mistakes = Mistakes::default();
    let mut warnings = Vec::new();
    if let Some(path) = &arguments.run_file {
        match many::read(path) {
            Err(found) => mistakes.append(found),
            Ok((apps, told)) => {
                warnings.extend(told.iter().map(ToString::to_string));
                match many::plans(&apps) {
                    Ok(plans) => plans.iter().for_each(|plan| warnings.extend(warned(plan))),
                    Err(error) => match error.downcast::<Mistakes>() {
                        Ok(found) => mistakes.append(found),
                        Err(error) => mistakes.add_file(format!("{error:#}")),
                    },
                }
            }
        }
    }
    let mut flags = vec![format!("--app-id={}", arguments.app_id)];
    flags.extend(arguments.config.iter().map(|file| format!("--config={file}")));
    flags.extend(arguments.resources_path.iter().map(|path| format!("--resources-path={path}")));
    if flags.len() > 1 {
        match Plan::typed(flags, "") {
            Ok(plan) => warnings.extend(warned(&plan)),
            Err(found) => mistakes.append(found),
        }
    }
    (mistakes, warnings)
}

fn warned(plan: &Plan) -> Vec<String> {
    plan.sidecar.warnings.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(folder: &std::path::Path) -> Check {
        Check {
            config: vec![folder.join("config.yaml").display().to_string()],
            resources_path: vec![folder.display().to_string()],
            run_file: None,
            app_id: "orders".to_owned(),
            output: Output::Table,
        }
    }

    #[test]
    fn all_mistakes_of_all_files_are_found_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("config.yaml", "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nspec: {traceing: {}}\n");
        write(
            "component.yaml",
            "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: a}\nspec: {type: a.b}\n",
        );
        write("dapr.yaml", "version: 1\napps:\n- {appDirPath: ./nowhere, appPort: x}\n");
        let (mistakes, warnings) = found(&arguments(folder.path()));
        let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|text| text.contains("config.yaml:3: spec.traceing is an unknown field")), "{told:#?}");
        assert!(told.iter().any(|text| text.contains("dapr.yaml:1: apiVersion is missing")), "{told:#?}");
        assert!(warnings.is_empty() || !told.is_empty());

        let run_file = Some(folder.path().to_path_buf());
        let only = Check { run_file, config: Vec::new(), resources_path: Vec::new(), ..arguments(folder.path()) };
        let told: Vec<String> = found(&only).0.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 2, "{told:#?}");
        assert!(told[0].contains("dapr.yaml:3: apps[0]") && told[0].contains("is no folder"), "{told:#?}");
        assert!(told[1].contains("--app-port=\"x\""), "{told:#?}");
        assert_eq!(check(&only), 1);
    }
}
