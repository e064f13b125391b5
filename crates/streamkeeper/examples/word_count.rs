//! Counts the words of a text, and prints each count as it changes.
//!
//!     cargo run --example word_count [FILE]

use streamkeeper::prelude::*;

fn main() -> Result {
    let (env, arguments) = StreamExecutionEnvironment::from_args_and_rest()?;
    let path = arguments.first().map_or("LICENSE", String::as_str);
    env.from_source(FileSource::text_lines(path))
        .flat_map_with(|line, out| {
            for word in line.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
                out.collect((word.to_lowercase(), 1u64));
            }
        })
        .key_by_ref(|(word, _)| word.as_str())
        .reduce(|(word, a), (_, b)| (word, a + b))
        .map(|(word, count)| format!("({word}, {count})"))
        .print();
    env.execute("word count")?;
    Ok(())
}
