//! `chanop schema`: the JSON Schemas of the kinds, printed, written or compared.

use std::path::{Path, PathBuf};

use super::exit::Exit;
use super::printer::Printer;
use crate::resource::{Kind, schema};

/// Print the JSON Schema of a kind, or keep a directory of them.
#[derive(Debug, Clone, clap::Args)]
pub struct SchemaArgs {
    /// The kind; all of them when absent
    #[arg(value_parser = kind)]
    pub kind: Option<Kind>,
    /// Write one file a kind into this directory
    #[arg(long, value_name = "DIR", conflicts_with = "kind")]
    pub write: Option<PathBuf>,
    /// Fail when the files of this directory are not what would be written
    #[arg(long, value_name = "DIR", conflicts_with_all = ["kind", "write"])]
    pub check: Option<PathBuf>,
}

/// A kind by its name, its plural or its short name, whatever the case.
pub(super) fn kind(text: &str) -> Result<Kind, String> {
    let small = text.to_ascii_lowercase();
    let kind = Kind::ALL.into_iter().find(|kind| {
        let name = kind.as_str().to_ascii_lowercase();
        small == name || small == format!("{name}s") || small == format!("{name}es")
    });
    let class = (small == "class" || small == "classes").then_some(Kind::ChannelClass);
    let names = || Kind::ALL.map(|kind| kind.as_str().to_ascii_lowercase());
    kind.or(class).ok_or_else(|| format!("no kind is called so; allowed: {}", names().join(", ")))
}

/// Runs the command.
pub fn run(args: &SchemaArgs, printer: Printer) -> Exit {
    if let Some(directory) = &args.write {
        return write(directory, printer);
    }
    if let Some(directory) = &args.check {
        return check(directory, printer);
    }
    let kinds = args.kind.map_or_else(|| Kind::ALL.to_vec(), |kind| vec![kind]);
    for kind in kinds {
        printer.raw(schema::text(kind).as_bytes());
    }
    Exit::Ok
}

fn write(directory: &Path, printer: Printer) -> Exit {
    for kind in Kind::ALL {
        let path = directory.join(schema::file_name(kind));
        if let Err(error) = std::fs::write(&path, schema::text(kind)) {
            printer.err(format_args!("failed to write {}: {error}", path.display()));
            return Exit::Error;
        }
        printer.out(path.display());
    }
    Exit::Ok
}

fn check(directory: &Path, printer: Printer) -> Exit {
    let stale: Vec<_> = Kind::ALL
        .into_iter()
        .map(|kind| (directory.join(schema::file_name(kind)), schema::text(kind)))
        .filter(|(path, text)| std::fs::read_to_string(path).ok().as_ref() != Some(text))
        .collect();
    for (path, _) in &stale {
        printer.err(format_args!("{} is not what the types say", path.display()));
    }
    if stale.is_empty() {
        return Exit::Ok;
    }
    printer.err(format_args!("run: chanop schema --write {}", directory.display()));
    Exit::Error
}
