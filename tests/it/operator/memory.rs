//! The operator's memory while its files are hostile.

use std::fs;
use std::io::Write as _;
use std::time::Duration;

use crate::support::operator::Ground;

/// How much more memory the hostile files may cost than the idle operator has, at any time.
const ABOVE_IDLE_KIB: u64 = 50 * 1024;

/// A line of `/proc/<pid>/status`, in KiB.
fn status_kib(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').split_whitespace().next().unwrap().parse().unwrap()
}

/// Kinds of hostile spec files, each near the largest that is read.
fn hostile(index: usize) -> String {
    let scalar = |bytes: usize| "x".repeat(bytes);
    let many = |item: &str, bytes: usize| item.repeat(bytes / item.len());
    let whole = 900_000;
    match index % 8 {
        0 => format!("a: &a {}\nb: [{}]\n", scalar(60_000), many("*a, ", 80_000)),
        1 => format!("a: &a {}\nb:\n{}", scalar(600_000), many("- { *a : b }\n", 100_000)),
        2 => {
            let body: String = many("k: [1, 2, 3]\n", whole);
            format!("apiVersion: chanop.dev/v1alpha1\nkind: Channel\n{body}")
        }
        3 => format!("kind: Channel\n? {}\n: {{a: b}}\n", scalar(whole)),
        4 => many("{a: ", whole),
        5 => format!("a: [{}]\n", many("[], ", 350_000)),
        // A correct object, only large.
        6 => format!(
            "apiVersion: chanop.dev/v1alpha1\nkind: Run\nmetadata: {{name: r{index}}}\nspec: {{channelName: none, prompt: \"{}\"}}\n",
            scalar(whole)
        ),
        _ => many("---\nkind: Channel\nmetadata: {labels: {a: b}}\n", whole),
    }
}

#[test]
fn hostile_files_cost_little_memory() {
    let mut ground = Ground::new();
    // The files hold 180 MB, and development builds parse slowly.
    ground.patience = Duration::from_mins(4);
    ground.workspace("idle");
    let channel = ground.channel_text("idle", "", "  suspend: true\n");
    ground.write("a.yaml", &channel);
    ground.start();
    ground.until("the first channel is known", |ground| ground.shown("idle").is_object());
    let idle = status_kib(ground.pid(), "VmRSS");
    for index in 0..200 {
        ground.write(&format!("h{index:03}.yaml"), &hostile(index));
    }
    // Files are read in order of their names, so a scan that has this channel has read all of the others.
    ground.write("z.yaml", &channel.replace("name: idle", "name: last"));
    ground.until("the last channel is known", |ground| ground.shown("last").is_object());
    // The kernel's high-water mark, so no peak between two looks is missed.
    let peak = status_kib(ground.pid(), "VmHWM");
    let now = status_kib(ground.pid(), "VmRSS");
    let figures = format!("idle {idle} KiB, peak {peak} KiB, now {now} KiB");
    assert!(peak <= idle + ABOVE_IDLE_KIB, "{figures}");
    // For the record, with --no-capture.
    writeln!(std::io::stderr(), "{figures}").unwrap();

    ground.chanop(&["get", "all"]).well();
}
