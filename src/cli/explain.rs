//! `chanop explain FIELD`: what a field is, from the schema, in the manner of `kubectl explain`.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::exit::Exit;
use super::printer::Printer;
use super::schema::kind;
use crate::resource::schema;
use crate::resource::validate::near::nearest;

/// Explain a field of a spec: its type, its default, what it takes and what is beneath it.
#[derive(Debug, Clone, clap::Args)]
pub struct ExplainArgs {
    /// Kind and path: channel.spec.resources.limits.memory
    #[arg(value_name = "FIELD")]
    pub field: String,
}

/// Runs the command.
pub fn run(args: &ExplainArgs, printer: Printer) -> Exit {
    match explain(&args.field) {
        Ok(text) => {
            printer.out(text.trim_end());
            Exit::Ok
        }
        Err(message) => {
            printer.err(message);
            Exit::Error
        }
    }
}

/// The explanation, or what is wrong with `field`.
pub fn explain(field: &str) -> Result<String, String> {
    let mut keys = field.split('.');
    let kind = kind(keys.next().unwrap_or_default()).map_err(|why| format!("{field}: {why}"))?;
    let root = schema::of(kind);
    let mut path = kind.as_str().to_ascii_lowercase();
    let mut node = &root;
    for key in keys {
        let key = key.split('[').next().unwrap_or_default();
        let children = children(node);
        let Some((_, child)) = children.iter().find(|(name, _)| *name == key) else {
            return Err(unknown(&path, key, node));
        };
        path = format!("{path}.{key}");
        node = child;
    }
    Ok(page(&path, node))
}

fn unknown(path: &str, key: &str, node: &Json) -> String {
    let names: Vec<&str> = children(node).into_iter().map(|(name, _)| name).collect();
    if names.is_empty() {
        return format!("{path} has no fields: it is {}", article(&type_of(node)));
    }
    let near = nearest(key, names.iter().copied());
    let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    format!("{path} has no field `{key}`{near}\nfields: {}", names.join(", "))
}

fn article(name: &str) -> String {
    let vowel = name.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {name}", if vowel { "an" } else { "a" })
}

fn page(path: &str, node: &Json) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _infallible = writeln!(text, "{name:<9}{value}");
    };
    line("FIELD:", path);
    line("TYPE:", &type_of(node));
    if let Some(default) = node.get("default") {
        let shown = if default == "" { "\"\" (empty)".to_owned() } else { plain(default) };
        line("DEFAULT:", &shown);
    }
    let bound = |key| node.get(key).filter(|bound| !bound.is_null()).map(plain);
    let least = bound("minimum").filter(|least| least != "0");
    let most = bound("maximum").filter(|most| *most != u32::MAX.to_string());
    match (least, most) {
        (Some(least), Some(most)) => line("RANGE:", &format!("{least} to {most}")),
        (Some(least), None) => line("RANGE:", &format!("{least} or more")),
        (None, Some(most)) => line("RANGE:", &format!("at most {most}")),
        (None, None) => {}
    }
    let about = node.get("description").and_then(Json::as_str).unwrap_or_default();
    let _infallible = write!(text, "\n{}", wrapped(about, 2));
    words(node, &mut text);
    fields(node, &mut text);
    text
}

fn words(node: &Json, text: &mut String) {
    let list = |key: &str| node.get(key).and_then(Json::as_array).cloned().unwrap_or_default();
    let (words, meanings) = (list("enum"), list("markdownEnumDescriptions"));
    let words: Vec<&str> = words.iter().filter_map(Json::as_str).collect();
    if words.is_empty() {
        return;
    }
    let width = words.iter().map(|word| word.len()).max().unwrap_or_default();
    text.push_str("\nALLOWED:\n");
    for (index, word) in words.iter().enumerate() {
        let meaning = meanings.get(index).and_then(Json::as_str).unwrap_or_default();
        let _infallible = writeln!(text, "{}", format!("  {word:<width$}  {meaning}").trim_end());
    }
}

fn fields(node: &Json, text: &mut String) {
    let children = children(node);
    if children.is_empty() {
        return;
    }
    text.push_str("\nFIELDS:\n");
    let required: Vec<&str> = object(node)
        .and_then(|object| object.get("required")?.as_array())
        .map(|all| all.iter().filter_map(Json::as_str).collect())
        .unwrap_or_default();
    for (name, child) in children {
        let must = if required.contains(&name) { " (required)" } else { "" };
        let default = match child.get("default") {
            Some(default) if default != "" => format!(", default {}", plain(default)),
            _ => String::new(),
        };
        let about = child.get("description").and_then(Json::as_str).unwrap_or_default();
        let _infallible =
            write!(text, "  {name} <{}{default}>{must}\n{}", type_of(child), wrapped(about, 6));
    }
}

/// The fields beneath a node, through lists and maps.
fn children(node: &Json) -> Vec<(&str, &Json)> {
    let properties = object(node).and_then(|object| object.get("properties")?.as_object());
    properties.into_iter().flatten().map(|(name, child)| (name.as_str(), child)).collect()
}

/// The schema of the object that a node is, or that its items are.
fn object(node: &Json) -> Option<&Json> {
    if node.get("properties").is_some() {
        return Some(node);
    }
    let through = |key: &str| node.get(key).filter(|inner| inner.is_object()).and_then(object);
    let choices = node.get("anyOf").and_then(Json::as_array).into_iter().flatten();
    through("items")
        .or_else(|| through("additionalProperties"))
        .or_else(|| choices.into_iter().find_map(object))
}

fn type_of(node: &Json) -> String {
    if let Some(name) = node.get("x-type").and_then(Json::as_str) {
        return name.to_owned();
    }
    if let Some(choices) = node.get("anyOf").and_then(Json::as_array) {
        let mut names: Vec<String> = choices.iter().map(type_of).collect();
        names.retain(|name| name != "null");
        return names.join(" or ");
    }
    if node.get("const").is_some() {
        return "string".to_owned();
    }
    let name = match node.get("type") {
        Some(Json::String(name)) => name.as_str(),
        Some(Json::Array(names)) => names.first().and_then(Json::as_str).unwrap_or_default(),
        _ => "",
    };
    match name {
        "array" => match node.get("items") {
            Some(items) => format!("list of {}", type_of(items)),
            None => "list".to_owned(),
        },
        "object" if node.get("properties").is_none() => {
            match node.get("additionalProperties").filter(|inner| inner.is_object()) {
                Some(inner) => format!("map of {}", type_of(inner)),
                None => "map".to_owned(),
            }
        }
        name => name.to_owned(),
    }
}

fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Lines of at most 80 characters, each indented.
fn wrapped(text: &str, indent: usize) -> String {
    const WIDTH: usize = 80;
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && indent + line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _infallible = writeln!(lines, "{:indent$}{line}", "");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        let _infallible = writeln!(lines, "{:indent$}{line}", "");
    }
    lines
}

#[cfg(test)]
#[expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]
mod tests {
    use expect_test::expect;

    use super::explain;

    #[test]
    fn a_field_is_explained_with_all_that_the_schema_knows() {
        expect![[r#"
            FIELD:   channel.spec.resources.limits.memory
            TYPE:    quantity
            DEFAULT: 4Gi

              Bytes; swap equals it; 0: no limit.
        "#]]
        .assert_eq(&explain("channel.spec.resources.limits.memory").unwrap());
        expect![[r#"
            FIELD:   channel.spec.home.type
            TYPE:    string
            DEFAULT: Channel

              A directory per channel (so that sessions and caches stay), memory, or
              whatever the image has there.

            ALLOWED:
              Channel  A directory of the channel's own, in the state directory.
              Tmpfs    Memory, gone with the container.
              Image    Whatever the image has there.
        "#]]
        .assert_eq(&explain("channel.spec.home.type").unwrap());
        expect![[r#"
            FIELD:   channel.spec.mounts
            TYPE:    list of object or string

              Binds, volumes and tmpfs beside workspace and home, merged with the class's by
              target. Each is a map, or the short form `source:target[:ro|rw]`.

            FIELDS:
              type <string>
                  What is mounted.
              source <string>
                  The host path of a bind, or the volume's name.
              target <string> (required)
                  Where it appears: the key by which mounts merge.
              readOnly <boolean>
                  Binds are read-only unless this says false; volumes are writable unless it
                  says true.
              optional <boolean, default false>
                  Of a bind: leave it out when the source is missing. Otherwise that holds
                  the channel.
              size <quantity>
                  Of a tmpfs: its size.
              exec <boolean, default false>
                  Of a tmpfs: may programs be run from it?
              $patch <string>
                  `delete` removes the class's mount of this target.
        "#]]
        .assert_eq(&explain("channel.spec.mounts").unwrap());
        expect![[r#"
            FIELD:   channelclass.metadata
            TYPE:    object

              Name, labels and annotations.

            FIELDS:
              name <string> (required)
                  The object's ID within its kind: a DNS-1123 label, never renamed in place.
              labels <map of string>
                  For selecting. They never become Docker labels.
              annotations <map of string>
                  For notes; a new value of chanop.dev/restartedAt recreates the shell.
        "#]]
        .assert_eq(&explain("class.metadata").unwrap());
    }

    #[test]
    fn a_slip_is_answered_with_what_was_meant() {
        expect![[r#"
            channel.spec.resources has no field `limit`; did you mean `limits`?
            fields: limits, shmSize"#]]
        .assert_eq(&explain("channel.spec.resources.limit").unwrap_err());
        expect!["channel.spec.suspend has no fields: it is a boolean"]
            .assert_eq(&explain("channel.spec.suspend.x").unwrap_err());
        expect!["chanel.spec: no kind is called so; allowed: channel, run, schedule, channelclass"]
            .assert_eq(&explain("chanel.spec").unwrap_err());
    }
}
