//! Fenced blocks of a Markdown page and what their comments ask for.

/// A fenced block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Line of the opening fence, from 1.
    pub line: usize,
    /// `yaml`, `sh`, `console`, ...
    pub language: String,
    /// What the comment before it says after `test:`; empty without one.
    pub note: String,
    /// The block itself, without the fences' indentation.
    pub text: String,
}

/// What is to be done with a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// `ringfence validate` accepts it, together with the page's other blocks of this name.
    Valid {
        /// Empty = alone.
        together: String,
    },
    /// `ringfence validate` refuses it and says this.
    Invalid(String),
    /// It stands in this file of the repository.
    From(String),
    /// It is written to this file of the page's folder.
    File(String),
    /// It is run, and its last command exits with this.
    Run {
        /// Expected exit code.
        exit: i32,
    },
    /// It is started and kept, once this URL answers.
    Serve(String),
    /// This file of the tests does it.
    Elsewhere(String),
    /// It is run on a cluster that its page begins with empty.
    Cluster,
    /// It is started there and kept, once somebody answers at this address.
    ClusterServe(String),
    /// Nothing.
    None,
}

impl Block {
    /// What is to be done with it.
    ///
    /// # Errors
    /// What is missing or cannot be understood.
    pub fn task(&self) -> Result<Task, String> {
        let (verb, rest) = self.note.split_once(' ').unwrap_or((&self.note, ""));
        let rest = rest.trim().to_owned();
        let shell = matches!(self.language.as_str(), "sh" | "console");
        let said = |task: fn(String) -> Task| if rest.is_empty() { Err(format!("`test: {verb}` needs an argument")) } else { Ok(task(rest.clone())) };
        match verb {
            "" if self.language == "yaml" && self.is_ours() => Ok(Task::Valid { together: String::new() }),
            "" if shell || self.language == "yaml" => Err(format!("this `{}` block needs a comment: <!-- test: ... -->", self.language)),
            "" => Ok(Task::None),
            "together" => said(|together| Task::Valid { together }),
            "invalid" => said(Task::Invalid),
            "from" => said(Task::From),
            "file" => said(Task::File),
            "elsewhere" => said(Task::Elsewhere),
            "serve" if shell => said(Task::Serve),
            "cluster" if shell && rest.is_empty() => Ok(Task::Cluster),
            "cluster" if shell => {
                rest.strip_prefix("serve ").map(|address| Task::ClusterServe(address.to_owned())).ok_or(format!("`test: cluster {rest}`?"))
            }
            "run" if shell && rest.is_empty() => Ok(Task::Run { exit: 0 }),
            "run" if shell => {
                rest.strip_prefix("exit=").and_then(|exit| exit.parse().ok()).map(|exit| Task::Run { exit }).ok_or(format!("`test: run {rest}`?"))
            }
            "other" if !shell => said(|_| Task::None),
            _ => Err(format!("`test: {}` does not fit a `{}` block", self.note, self.language)),
        }
    }

    fn is_ours(&self) -> bool {
        self.text.lines().any(|line| line.starts_with("apiVersion: ringfence.dev/"))
    }

    /// The commands of a `sh` or `console` block, each with the output that is shown for it.
    pub fn commands(&self) -> Vec<(String, Option<String>)> {
        if self.language == "sh" {
            return vec![(self.text.clone(), None)];
        }
        let mut commands: Vec<(String, Option<String>)> = Vec::new();
        for line in self.text.lines() {
            match (line.strip_prefix("$ "), commands.last_mut()) {
                (Some(command), _) => commands.push((command.to_owned(), Some(String::new()))),
                // A command goes on after a backslash.
                (None, Some((command, _))) if command.ends_with('\\') => *command += &format!("\n{line}"),
                (None, Some((_, Some(output)))) => *output += &format!("{line}\n"),
                (None, _) => {}
            }
        }
        commands
    }
}

/// Finds the fenced blocks of a page.
///
/// # Errors
/// `LINE: problem` for a fence that is never closed.
pub fn parse(page: &str) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    let mut note = String::new();
    let mut lines = page.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        if let Some(language) = trimmed.strip_prefix("```") {
            let mut text = String::new();
            loop {
                let (_, line) = lines.next().ok_or_else(|| format!("{}: this fence is never closed", at + 1))?;
                if line.trim() == "```" {
                    break;
                }
                text += line.get(indent..).unwrap_or_default();
                text.push('\n');
            }
            blocks.push(Block { line: at + 1, language: language.trim().to_owned(), note: std::mem::take(&mut note), text });
        } else if let Some(comment) = trimmed.strip_prefix("<!-- test:") {
            note = comment.trim_end().trim_end_matches("-->").trim().to_owned();
        } else if !trimmed.is_empty() {
            note.clear();
        }
    }
    Ok(blocks)
}

/// Whether the lines of `quote` stand in `file` one after the other, whatever their indentation.
pub fn quotes(file: &str, quote: &str) -> bool {
    let trimmed = |text: &str| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>();
    let (file, quote) = (trimmed(file), trimmed(quote));
    !quote.is_empty() && file.windows(quote.len()).any(|window| window == quote)
}

/// Whether `output` is what `shown` shows: `...` stands for anything within a line, and for any lines when alone.
#[cfg_attr(not(feature = "real-proxies"), allow(dead_code, reason = "commands are run with the feature only"))]
pub fn shows(shown: &str, output: &str) -> bool {
    fn lines(shown: &[&str], output: &[&str]) -> bool {
        match shown.split_first() {
            None => output.is_empty(),
            Some((first, rest)) if first.trim() == "..." => (0..=output.len()).any(|skipped| lines(rest, &output[skipped..])),
            Some((first, rest)) => output.split_first().is_some_and(|(line, others)| like(first.trim_end(), line.trim_end()) && lines(rest, others)),
        }
    }
    lines(&shown.lines().collect::<Vec<_>>(), &output.lines().collect::<Vec<_>>())
}

fn like(shown: &str, line: &str) -> bool {
    match shown.split_once("...") {
        None => shown == line,
        Some((before, after)) => {
            line.strip_prefix(before).is_some_and(|rest| (0..=rest.len()).filter_map(|at| rest.get(at..)).any(|rest| like(after, rest)))
        }
    }
}

#[test]
fn blocks_carry_the_comment_before_them() {
    let page = "text\n<!-- test: run exit=2 -->\n```sh\nringfence\n```\n\n<!-- test: run -->\nother text\n\n  ```yaml\n  a:\n    b: 1\n  ```\n";
    let blocks = parse(page).unwrap();
    assert_eq!(blocks[0], Block { line: 3, language: "sh".into(), note: "run exit=2".into(), text: "ringfence\n".into() });
    assert_eq!(blocks[1], Block { line: 10, language: "yaml".into(), note: String::new(), text: "a:\n  b: 1\n".into() });
    assert_eq!(parse("a\n```sh\nb\n").unwrap_err(), "2: this fence is never closed");
}

#[test]
fn a_block_without_a_fitting_comment_is_an_error() {
    let block = |language: &str, note: &str, text: &str| Block { line: 1, language: language.into(), note: note.into(), text: text.into() }.task();
    assert_eq!(block("yaml", "", "apiVersion: ringfence.dev/v1alpha1\n"), Ok(Task::Valid { together: String::new() }));
    assert_eq!(block("sh", "run exit=1", "false"), Ok(Task::Run { exit: 1 }));
    assert_eq!(block("text", "", "whatever"), Ok(Task::None));
    for (language, note) in
        [("sh", ""), ("console", ""), ("yaml", ""), ("sh", "other why"), ("yaml", "run"), ("sh", "run twice"), ("yaml", "from"), ("sh", "skip")]
    {
        assert!(block(language, note, "a: 1").is_err(), "{language} {note}");
    }
}

#[test]
fn console_blocks_are_commands_and_their_output() {
    let block = Block { line: 1, language: "console".into(), note: String::new(), text: "$ a \\\n  b\nx\n...\ny\n$ c\n".into() };
    assert_eq!(block.commands(), [("a \\\n  b".to_owned(), Some("x\n...\ny\n".to_owned())), ("c".to_owned(), Some(String::new()))]);
    assert!(shows("x ...z\n...\ny\n", "x 12 z\n1\n2\ny\n"));
    assert!(shows("", ""));
    for (shown, output) in [("x\n", "x\ny\n"), ("x\ny\n", "x\n"), ("a...b\n", "a\nb\n"), ("a\n", "b\n")] {
        assert!(!shows(shown, output), "{shown:?} {output:?}");
    }
}

#[test]
fn quotes_ignore_indentation_only() {
    assert!(quotes("a:\n  b:\n    c: 1\n", "b:\n  c: 1\n"));
    assert!(!quotes("a:\n  b:\n    c: 1\n", "a:\n  c: 1\n"));
    assert!(!quotes("a:\n", ""));
}
