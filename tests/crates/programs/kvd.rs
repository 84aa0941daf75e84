//! A daemon: answers `get KEY` and `set KEY VALUE` on a free port, which it prints. With `--where`, prints the path of
//! its file.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
};

fn main() -> std::io::Result<()> {
    if std::env::args().any(|argument| argument == "--where") {
        println!("{}", std::env::current_exe()?.display());
        return Ok(());
    }
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("listening on {}", listener.local_addr()?.port());
    let mut values = HashMap::new();
    for stream in listener.incoming() {
        let mut stream = stream?;
        let mut line = String::new();
        BufReader::new(stream.try_clone()?).read_line(&mut line)?;
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["set", key, value] => {
                values.insert((*key).to_owned(), (*value).to_owned());
                stream.write_all(b"done\n")?;
            }
            ["get", key] => writeln!(stream, "{}", values.get(*key).map_or("-", String::as_str))?,
            _ => stream.write_all(b"?\n")?,
        }
    }
    Ok(())
}
