//! A harness of its own, with names as they are in the real world.

fn names() -> Vec<String> {
    let long = format!("long::{}", "x".repeat(194));
    let names = [
        "dir/a.txt",
        "with some spaces",
        "a[1]",
        "größe::中文",
        "a::b::c",
        "re.g(e)x*",
        &long,
    ];
    names.map(str::to_owned).to_vec()
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| words.iter().any(|given| given == word);
    if has("--list") {
        for name in names().iter().filter(|_| !has("--ignored")) {
            println!("{name}: test");
        }
        return;
    }
    let wanted = words.iter().find(|word| !word.starts_with("--"));
    let run: Vec<_> = names()
        .into_iter()
        .filter(|name| wanted.is_none_or(|wanted| wanted == name))
        .collect();
    println!("{} passed: {run:?}", run.len());
    std::process::exit(i32::from(run.is_empty()));
}
