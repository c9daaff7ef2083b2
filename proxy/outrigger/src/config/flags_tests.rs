//! What the flag parser accepts and refuses, as tables.

use super::*;
use crate::config::table::*;

fn arguments(line: &[&str]) -> Vec<String> {
    line.iter().map(|s| (*s).to_owned()).collect()
}

fn parsed(persona: Persona, line: &[&str]) -> Result<Flags, Mistakes> {
    let (flags, mistakes) = parse(persona, &arguments(line));
    mistakes.into_result(flags)
}

fn daprd(line: &[&str]) -> Result<Flags, Mistakes> {
    parsed(Persona::Daprd, line)
}

fn refused(line: &[&str]) -> Vec<String> {
    match daprd(line) {
        Ok(_) => panic!("{line:?} was accepted"),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn every_default_reads_as_its_kind_and_asks_for_nothing() {
    for flag in ALL {
        for persona in [Persona::Daprd, Persona::Outrigger] {
            let value = read(flag.kind, flag.default_for(persona));
            let value = value.unwrap_or_else(|| panic!("--{} has no default", flag.name));
            if let Support::Only(allowed) | Support::Tolerated(allowed, _) = flag.support {
                assert!(asks_for_nothing(flag.kind, &value, allowed), "--{}", flag.name);
            }
        }
    }
}

#[test]
fn no_flag_is_declared_twice() {
    let mut names: Vec<_> = ALL.iter().map(|flag| flag.name).collect();
    names.sort_unstable();
    let before = names.len();
    names.dedup();
    assert_eq!(names.len(), before);
}

#[test]
fn a_value_is_joined_or_follows_after_one_dash_or_two() {
    for line in [
        &["--app-id=shop"][..],
        &["--app-id", "shop"],
        &["-app-id=shop"],
        &["-app-id", "shop"],
        &["--app-id=first", "--app-id=shop"],
    ] {
        let flags = daprd(line).unwrap();
        assert_eq!(flags.text(&APP_ID), "shop", "{line:?}");
        assert!(flags.is_given(&APP_ID));
    }
    assert_eq!(daprd(&["--app-id=a=b"]).unwrap().text(&APP_ID), "a=b");
    assert_eq!(daprd(&["--app-id="]).unwrap().text(&APP_ID), "");
    // The next argument is the value even when it looks like a flag.
    let flags = daprd(&["--app-id", "--enable-mtls"]).unwrap();
    assert_eq!(flags.text(&APP_ID), "--enable-mtls");
    assert!(!flags.boolean(&ENABLE_MTLS));
}

#[test]
fn a_boolean_never_takes_the_next_argument() {
    let table = [
        (&["--enable-mtls"][..], true),
        (&["-enable-mtls"], true),
        (&["--enable-mtls=true"], true),
        (&["--enable-mtls=T"], true),
        (&["--enable-mtls=1"], true),
        (&["--enable-mtls=false"], false),
        (&["--enable-mtls=0"], false),
        (&["--enable-mtls", "--enable-mtls=false"], false),
        (&[], false),
    ];
    for (line, want) in table {
        assert_eq!(daprd(line).unwrap().boolean(&ENABLE_MTLS), want, "{line:?}");
    }
    let flags = daprd(&["--enable-mtls", "false"]).unwrap();
    assert!(flags.boolean(&ENABLE_MTLS), "stock ignores the stray word");
    assert!(flags.warnings[0].contains("\"false\""), "{:?}", flags.warnings);
    assert!(parsed(Persona::Outrigger, &["--enable-mtls", "false"]).is_err());
}

#[test]
fn lists_repeat_and_split_at_commas() {
    let flags = daprd(&["--config=a.yaml", "--config", "b.yaml,c.yaml"]).unwrap();
    assert_eq!(flags.list(&CONFIG), ["a.yaml", "b.yaml", "c.yaml"]);
    assert_eq!(daprd(&[]).unwrap().list(&CONFIG), Vec::<String>::new());
    assert_eq!(daprd(&["--config="]).unwrap().list(&CONFIG), Vec::<String>::new());
}

#[test]
fn numbers_take_base_prefixes_and_signs() {
    let flags = daprd(&["--dapr-graceful-shutdown-seconds=0x10"]).unwrap();
    assert_eq!(flags.int(&GRACEFUL_SECONDS), 16);
    let flags = daprd(&["--app-max-concurrency", "-1"]).unwrap();
    assert_eq!(flags.int(&APP_MAX_CONCURRENCY), -1);
}

#[test]
fn defaults_are_stock_as_daprd_and_ours_as_outrigger() {
    let stock = daprd(&[]).unwrap();
    let ours = parsed(Persona::Outrigger, &[]).unwrap();
    assert_eq!(stock.text(&HTTP_PORT), "3500");
    assert_eq!(stock.text(&LISTEN_ADDRESSES), "");
    assert!(!stock.boolean(&ENABLE_MTLS));
    assert_eq!(ours.text(&HTTP_PORT), "3500");
    assert_eq!(ours.text(&LISTEN_ADDRESSES), "127.0.0.1");
    assert!(ours.boolean(&ENABLE_MTLS));
    assert_eq!(ours.uint(&RUN_PID), 0);
    assert!(!stock.is_given(&HTTP_PORT));
}

#[test]
fn each_bad_flag_is_refused_by_name_with_a_fix() {
    let table: &[(&[&str], &str)] = &[
        (&["--app-prot=1"], "--app-prot=\"1\": unknown flag; did you mean --app-port?"),
        (&["--frobnicate"], "--frobnicate: unknown flag; --help lists the flags"),
        (&["-x"], "--x: unknown flag"),
        (&["--app-id"], "--app-id: needs a value"),
        (&["--=x"], "--=x: is no flag"),
        (&["---app-id=x"], "---app-id=x: is no flag"),
        (&["--enable-mtls=yes"], "--enable-mtls=\"yes\": is no true|false"),
        (&["--app-max-concurrency=ten"], "--app-max-concurrency=\"ten\": is no number"),
        (&["--scheduler-job-streams=-1"], "is no number from 0"),
        (&["--actors-disseminate-timeout=soon"], "is no duration such as 1m30s"),
        (&["--config=\"open"], "--config=\"\\\"open\": is no text"),
        (&["--mode=kubernetes"], "--mode=\"kubernetes\": asks for a feature"),
        (&["--unix-domain-socket=/tmp"], "docs/not-supported.md"),
        (&["--enable-app-health-check"], "--enable-app-health-check=\"true\""),
        (&["--dapr-block-shutdown-duration=5"], "is no duration"),
        // Our own flags are unknown to daprd.
        (&["--control-socket=/x"], "--control-socket=\"/x\": unknown flag"),
    ];
    for (line, want) in table {
        let mistakes = refused(line);
        assert_eq!(mistakes.len(), 1, "{line:?}: {mistakes:?}");
        assert!(mistakes[0].contains(want), "{line:?}: {}", mistakes[0]);
    }
}

#[test]
fn all_mistakes_come_at_once_in_their_order() {
    let mistakes =
        refused(&["--app-prot", "3000", "--app-id=fine", "--enable-mtls=maybe", "--mode=kubernetes", "--config"]);
    assert_eq!(mistakes.len(), 4, "{mistakes:?}");
    for (mistake, name) in mistakes.iter().zip(["--app-prot", "--enable-mtls", "--mode", "--config"]) {
        assert!(mistake.starts_with(name), "{mistake}");
    }
}

#[test]
fn a_value_that_asks_for_nothing_is_accepted_however_it_is_spelt() {
    for line in [
        &["--mode=standalone"][..],
        &["--enable-profiling=F"],
        &["--unix-domain-socket="],
        &["--dapr-block-shutdown-duration=0s"],
        &["--placement-host-address", ""],
        &["--scheduler-host-address="],
        &["--profile-port=7000"],
        &["--allowed-origins=*"],
        &["--allowed-origins=https://a.example"],
    ] {
        daprd(line).unwrap_or_else(|mistakes| panic!("{line:?}: {mistakes}"));
    }
}

#[test]
fn flags_without_effect_and_deprecated_flags_warn() {
    let flags = daprd(&["--profile-port=1", "--components-path=/x", "--reminders-service=a:b"]).unwrap();
    assert_eq!(flags.warnings.len(), 3, "{:?}", flags.warnings);
    assert!(flags.warnings[1].contains("use --resources-path"));
}

#[test]
fn what_platforms_pass_to_every_sidecar_is_tolerated_as_daprd_and_refused_as_outrigger() {
    for argument in
        ["--placement-host-address=localhost:50005", "--scheduler-host-address=a:1,b:2", "--enable-profiling"]
    {
        let flags = daprd(&[argument]).unwrap();
        assert_eq!(flags.warnings.len(), 1, "{argument}: {:?}", flags.warnings);
        let (_, mistakes) = parse(Persona::Outrigger, &[argument.to_owned()]);
        assert!(mistakes.iter().any(|mistake| mistake.to_string().contains("not supported yet")), "{argument}");
    }
}

#[test]
fn help_is_seen_and_lists_what_the_persona_knows() {
    for line in [&["--help"][..], &["-help"], &["-h"], &["--app-id=a", "--help"]] {
        assert!(daprd(line).unwrap().help, "{line:?}");
    }
    assert!(!help(Persona::Daprd).contains("--control-socket"));
    assert!(help(Persona::Outrigger).contains("--control-socket"));
    assert!(help(Persona::Daprd).contains("--dapr-http-port=3500"));
}

#[test]
fn flags_end_at_two_dashes() {
    let flags = daprd(&["--app-id=a", "--", "--app-id=b"]).unwrap();
    assert_eq!(flags.text(&APP_ID), "a");
    assert_eq!(flags.warnings.len(), 1);
}

/// The table of `docs/cli.md`, as the program has it.
fn documented() -> String {
    let mut table = String::from("| flag | `daprd` | `outrigger sidecar` | what it is |\n|---|---|---|---|\n");
    let shown = |text: &str| if text.is_empty() { "–".to_owned() } else { format!("`{text}`") };
    for flag in ALL {
        let stock = if flag.ours { "unknown".to_owned() } else { shown(flag.default) };
        let what = match flag.support {
            Support::Full => flag.help.to_owned(),
            Support::Only(_) => format!("{} (**not supported yet**: other values are refused)", flag.help),
            Support::Tolerated(_, why) => {
                format!(
                    "{} (**not supported yet**: {why}; as `daprd` accepted with a warning, else refused)",
                    flag.help
                )
            }
            Support::NoEffect(why) => format!("{} (no effect: {why})", flag.help),
            Support::Deprecated(instead) => format!("deprecated: {instead}"),
        };
        if flag.ours && flag.help.is_empty() {
            continue;
        }
        table.push_str(&format!(
            "| `--{}` | {stock} | {} | {} |\n",
            flag.name,
            shown(flag.our_default),
            what.trim_start()
        ));
    }
    table
}

#[test]
fn the_table_of_flags_in_the_docs_is_the_one_in_the_program() {
    let docs = include_str!("../../../../docs/cli.md");
    assert!(docs.contains(&documented()), "docs/cli.md is stale; it must contain:\n{}", documented());
}

#[test]
fn every_flag_that_is_refused_is_listed_as_not_supported() {
    let docs = include_str!("../../../../docs/not-supported.md");
    for flag in ALL {
        if let Support::Only(_) | Support::Tolerated(..) = flag.support {
            assert!(docs.contains(&format!("`--{}", flag.name)), "--{} is missing", flag.name);
        }
    }
}
