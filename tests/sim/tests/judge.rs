//! What is kept from one judgement to the next changes nothing: files, classes, facts and places come and go, and each time
//! the same comes out as when everything is judged anew.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chanop::controller::judge::{self, Drafts};
use chanop::controller::scan::Sources;
use chanop::resource::Now;
use chanop::world::admission::{Incumbents, PathClaims};
use chanop::world::facts::Facts;
use chanop::world::scan::{FileState, Root};
use chanop_sim::Spec;
use chanop_sim::engine::wall;
use chanop_sim::host::{Host, name, settings};
use chanop_sim::rng::Rng;
use chanop_sim::tree::{Tree, parse};

const CHANNELS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A channel of a class, in a workspace that may lie in another's.
fn nested(rng: &mut Rng) -> String {
    let path = ["/home/u/a/inner", "/home/u/apart", "/home/u/b"][rng.below(3) as usize];
    let class = ["small", "none"][rng.below(2) as usize];
    format!(
        "apiVersion: chanop.dev/v1alpha1\nkind: Channel\nmetadata: {{name: nested}}\nspec:\n  \
         className: {class}\n  workspace: {{path: {path}}}\n"
    )
}

fn class(rng: &mut Rng) -> String {
    format!(
        "apiVersion: chanop.dev/v1alpha1\nkind: ChannelClass\nmetadata: {{name: small}}\nspec:\n  \
         image: {{ref: \"img-{}\"}}\n",
        rng.below(2)
    )
}

fn run(rng: &mut Rng) -> String {
    format!(
        "apiVersion: chanop.dev/v1alpha1\nkind: Run\nmetadata: {{name: r}}\nspec: {{channelName: a, prompt: p, rerun: {}}}\n",
        rng.below(3)
    )
}

#[test]
fn judged_with_what_was_kept_is_judged_anew() {
    let settings = settings();
    let (mut same, mut other) = (0, 0);
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let (mut tree, mut host) = (Tree::default(), Host::default());
        let mut more: [Option<String>; 3] = Default::default();
        let mut place = "/home/u/specs";
        let (mut sources, mut drafts) = (Sources::default(), Drafts::default());
        let mut facts: Arc<Facts> = Arc::default();
        let mut incumbents: Arc<Incumbents> = Arc::default();
        for step in 0..120_u64 {
            let channel = CHANNELS[rng.below(5) as usize];
            match rng.below(12) {
                0..4 => {
                    let spec = Spec { memory: 64 + rng.below(2) as u32, ..Spec::default() };
                    tree.write(channel, spec);
                }
                4 => tree.delete(channel),
                5 => {
                    let how = rng.next();
                    tree.tear(channel, how);
                }
                6 => more[0] = (rng.below(3) > 0).then(|| nested(&mut rng)),
                7 => more[1] = (rng.below(3) > 0).then(|| class(&mut rng)),
                8 => more[2] = (rng.below(3) > 0).then(|| run(&mut rng)),
                9 => {
                    let path = format!("/home/u/{channel}");
                    if !host.missing.remove(&path) {
                        host.missing.insert(path);
                    }
                }
                10 => place = ["/home/u/specs", "/home/u/a"][rng.below(2) as usize],
                _ => {}
            }
            let at = Duration::from_secs(20 * step);
            let mut scan = tree.scan(Now { mono: at, wall: wall(at) });
            if let Root::Present(root) = &mut scan.root {
                place.clone_into(&mut root.real);
            }
            for (path, text) in ["more.yaml", "class.yaml", "run.yaml"].iter().zip(&more) {
                if let Some(text) = text {
                    let parsed = parse(path, text);
                    scan.files.insert((*path).to_owned(), FileState::Parsed(parsed));
                }
            }
            sources.absorb(scan, settings.prune_delay);
            let (kept, wanted) = drafts.desired(&sources, &facts, &settings, &incumbents);
            let (anew, wanted_anew) = judge::desired(&sources, &facts, &settings, &incumbents);
            assert_eq!(wanted, wanted_anew, "seed {seed}, step {step}");
            assert_eq!(kept, anew, "seed {seed}, step {step}");
            let admitted = drafts.admitted();
            let mut containers = BTreeMap::new();
            if rng.below(3) == 0 {
                // A container with what another channel wants above or below.
                let mut held = PathClaims::default();
                let path = ["/home/u/a", "/home/u/a/inner", "/home/u/b"][rng.below(3) as usize];
                held.insert(path.to_owned(), rng.below(2) == 0, "");
                containers.insert(name(["b", "nested", "gone"][rng.below(3) as usize]), held);
            }
            if rng.below(3) > 0 {
                incumbents = Arc::new(Incumbents { containers, admitted });
            }
            let probed = host.probe(&wanted);
            if probed == *facts {
                same += 1;
            } else {
                other += 1;
                facts = Arc::new(probed);
            }
        }
    }
    assert!(same > 1000 && other > 1000, "{same} and {other}");
}
