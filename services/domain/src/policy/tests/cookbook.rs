//! The policy cookbook, run as it stands in the document.

use std::collections::BTreeMap;

use serde_json::Value;

use super::support::Files;
use crate::policy::{Bundle, LintLevel, LintLimits, lint};

const COOKBOOK: &str = include_str!("../../../../../docs/policy-cookbook.md");
/// The section that all recipes start from.
const COMPANY: &str = "The company";
/// The words after a fence that say where a block goes.
const KINDS: [&str; 4] = ["cedar", "json entities", "toml catalog", "toml tests"];

/// The blocks of one section, by kind.
type Blocks = BTreeMap<String, String>;

fn sections() -> BTreeMap<String, Blocks> {
    let mut all: BTreeMap<String, Blocks> = BTreeMap::new();
    let (mut title, mut kind) = (String::new(), None::<String>);
    for line in COOKBOOK.lines() {
        match (&kind, line.strip_prefix("```"), line.strip_prefix("## ")) {
            (None, Some(info), _) => {
                assert!(KINDS.contains(&info), "{title}: a block of `{info}`");
                kind = Some(info.to_owned());
            }
            (Some(_), Some(_), _) => kind = None,
            (None, None, Some(heading)) => title = heading.to_owned(),
            (Some(kind), None, _) => {
                let block = all.entry(title.clone()).or_default().entry(kind.clone());
                block.or_default().push_str(&format!("{line}\n"));
            }
            (None, None, None) => {}
        }
    }
    assert!(kind.is_none(), "a block has no end");
    all
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

fn files(company: &Blocks, recipe: &Blocks) -> Files {
    let json = |blocks: &Blocks| -> Value {
        let text = blocks.get("json entities").map_or("{}", String::as_str);
        serde_json::from_str(text).unwrap()
    };
    let text = |kind: &str| recipe.get(kind).cloned().unwrap_or_default().into_bytes();
    let mut entities = json(company);
    merge(&mut entities, json(recipe));
    let mut catalog = company["toml catalog"].clone().into_bytes();
    catalog.push(b'\n');
    catalog.extend(text("toml catalog"));
    Files::from([
        (
            "entities.json".to_owned(),
            entities.to_string().into_bytes(),
        ),
        ("catalog/all.toml".to_owned(), catalog),
        ("policies/recipe.cedar".to_owned(), text("cedar")),
        ("tests/recipe.toml".to_owned(), text("toml tests")),
    ])
}

/// What is wrong with a recipe, and how many cases it has.
fn tried(company: &Blocks, recipe: &Blocks) -> (Vec<String>, usize) {
    let bundle = match Bundle::from_files(&files(company, recipe)) {
        Ok(bundle) => bundle,
        Err(errors) => return (vec![errors.to_string()], 0),
    };
    let refused = lint(&bundle, &LintLimits::default());
    let refused = refused.iter().filter(|one| one.level == LintLevel::Refused);
    let mut faults: Vec<String> = refused.map(ToString::to_string).collect();
    let results = bundle.run_tests().unwrap();
    let failed = results.iter().filter_map(|one| one.problem());
    faults.extend(failed.map(|problem| problem.to_string()));
    (faults, results.len())
}

#[test]
fn every_recipe_of_the_cookbook_does_what_it_says() {
    let mut all = sections();
    let company = all.remove(COMPANY).unwrap();
    assert!(all.len() >= 10, "{:?}", all.keys());
    for (title, recipe) in &all {
        let (faults, cases) = tried(&company, recipe);
        assert!(faults.is_empty(), "{title}: {faults:#?}");
        assert!(cases >= 2, "{title} has {cases} cases");
    }
}

#[test]
fn no_part_of_a_recipe_can_be_left_out_unnoticed() {
    let mut all = sections();
    let company = all.remove(COMPANY).unwrap();
    for (title, recipe) in &all {
        for kind in recipe.keys().filter(|kind| *kind != "toml tests") {
            let mut less = recipe.clone();
            less.remove(kind);
            let (faults, _) = tried(&company, &less);
            assert!(!faults.is_empty(), "{title}: nothing needs its {kind}");
        }
    }
}
