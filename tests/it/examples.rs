//! The examples: each says nothing wrong, to our own validator and to an independent one.

use std::path::{Path, PathBuf};

use chanop::cli::validate::check;
use chanop::resource::{Kind, schema};
use chanop::specs::parse::parse_file;

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

fn spec_files(directory: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            spec_files(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            all.push(path);
        }
    }
}

#[test]
fn our_own_validator_has_nothing_to_say() {
    for (name, files) in [("quickstart", 4), ("team", 6), ("gitops", 1)] {
        let found = check(&directory(name), "/home/ann").unwrap();
        assert_eq!(found.violations, vec![], "{name}");
        assert_eq!(found.files, files, "{name}");
        assert!(found.summary().starts_with("0 errors, 0 warnings in "), "{}", found.summary());
    }
}

#[test]
fn an_independent_validator_agrees_by_the_schema_that_each_file_names() {
    let mut files = Vec::new();
    for name in ["quickstart", "team", "gitops"] {
        spec_files(&directory(name), &mut files);
    }
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let (_, named) = text.lines().next().unwrap().split_once("$schema=").unwrap();
        let named = file.parent().unwrap().join(named).canonicalize().unwrap();
        let documents: Vec<serde_json::Value> = serde_yaml::from_multiple(&text).unwrap();
        let mut first = true;
        for document in documents.iter().filter(|document| !document.is_null()) {
            let kind =
                Kind::ALL.into_iter().find(|kind| document["kind"] == kind.as_str()).unwrap();
            let validator = jsonschema::draft7::new(&schema::of(kind)).unwrap();
            let errors: Vec<_> = validator.iter_errors(document).map(|e| e.to_string()).collect();
            assert_eq!(errors, Vec::<String>::new(), "{}", file.display());
            if std::mem::take(&mut first) {
                assert!(
                    named.ends_with(schema::file_name(kind)),
                    "{} names another kind",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn what_a_run_reads_its_prompt_from_is_there() {
    let mut files = Vec::new();
    spec_files(&directory("team"), &mut files);
    let mut seen = 0;
    for file in files {
        for resource in parse_file("x.yaml", &std::fs::read_to_string(file).unwrap()).resources {
            let json = resource.to_json();
            if let Some(prompt) = json.pointer("/spec/promptFrom/file") {
                assert!(directory("team").join(prompt.as_str().unwrap()).is_file());
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 1);
}
