//! The pages for people: what they show is valid, and what they point to is there.

use std::fs;
use std::path::{Path, PathBuf};

use chanop::cli::validate::check;

const PAGES: [&str; 5] =
    ["README.md", "ARCHITECTURE.md", "BENCHMARKS.md", "THREATS.md", "CHANGELOG.md"];

const CLASS: &str = "\
apiVersion: chanop.dev/v1alpha1
kind: ChannelClass
metadata: {name: billing}
spec: {}
";

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The code blocks of one language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let begin = format!("```{language}\n");
    text.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn every_file_shown_in_the_readme_is_valid() {
    let examples = blocks(&page("README.md"), "yaml");
    assert_eq!(examples.len(), 3);
    let channel = examples[0].clone();
    for example in examples {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("example.yaml"), &example).unwrap();
        // The class that one of them names, and the channel that another one does.
        fs::write(directory.path().join("class.yaml"), CLASS).unwrap();
        let is_run = example.contains("kind: Run");
        if is_run {
            fs::write(directory.path().join("channel.yaml"), &channel).unwrap();
        }
        let found = check(directory.path(), "/home/ann").unwrap();
        assert_eq!(found.violations, vec![], "{example}");
        assert_eq!(found.files, 2 + usize::from(is_run));
    }
}

#[test]
fn every_link_to_a_file_leads_to_one() {
    for name in PAGES {
        let text = page(name);
        let links = text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap());
        for link in links.filter(|link| !link.starts_with("http")) {
            let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(link);
            assert!(path.exists(), "{name} links to {link}");
        }
    }
}

#[test]
fn every_place_that_the_code_map_names_is_there() {
    let text = page("ARCHITECTURE.md");
    let named = text.split('`').skip(1).step_by(2);
    let paths: Vec<&str> = named
        .filter(|name| {
            ["src/", "tests/", "manifests/", "examples/", "schemas/", "scripts/"]
                .iter()
                .any(|top| name.starts_with(top))
        })
        .collect();
    assert!(paths.len() > 15, "the map names places: {paths:?}");
    for path in paths {
        assert!(
            Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists(),
            "ARCHITECTURE.md names {path}"
        );
    }
}
