//! A client that keeps many writes under way, knows what each must be answered, and after each death of the server looks what is there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use streamkeeper_keeper::client::{Answer, Client};
use streamkeeper_keeper::proto::Request;

use super::model::{Model, Node, Outcome, Write, explain};
use super::random::Random;
use super::world::{Stop, World, client_options, wrong};

/// Writes under way at once, at most.
const DEPTH: usize = 8;
const TIMEOUT: Duration = Duration::from_secs(40);

/// What a writer saw.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Written {
    /// Answered writes, of which were multis, and of which were refused.
    pub(crate) answered: u64,
    pub(crate) multis: u64,
    pub(crate) refused: u64,
    /// Writes without an answer, and those of them that took effect.
    pub(crate) unanswered: u64,
    pub(crate) took_effect: u64,
    /// How often all znodes were compared after a death.
    pub(crate) compared: u64,
}

struct UnderWay {
    write: Write,
    outcome: Outcome,
    /// The newest zxid when it was asked.
    newest_before: i64,
}

struct Writer<'a> {
    world: &'a World,
    number: u64,
    random: Random,
    client: Client,
    life: usize,
    /// As the answered writes have it, and as it is when those under way are done.
    answered: Model,
    ahead: Model,
    under_way: VecDeque<UnderWay>,
    unique: u64,
    written: Written,
}

/// The znode of a writer; it must be there.
pub(crate) fn base(number: u64) -> String {
    format!("/writers/{number}")
}

/// Writes until the end.
pub(crate) fn run(world: &World, number: u64) -> Result<Written, Stop> {
    let (client, life) = world.connect(None, &client_options(TIMEOUT, None, 0))?;
    let model = Model::new(base(number));
    let mut writer = Writer {
        world,
        number,
        random: Random::of_parts(world.seed, number),
        client,
        life,
        answered: model.clone(),
        ahead: model,
        under_way: VecDeque::new(),
        unique: 0,
        written: Written::default(),
    };
    while !world.is_over() || !writer.under_way.is_empty() {
        match writer.turn() {
            Err(Stop::Lost) => writer.recover()?,
            result => result?,
        }
    }
    Ok(writer.written)
}

impl Writer<'_> {
    fn turn(&mut self) -> Result<(), Stop> {
        while self.under_way.len() < DEPTH && !self.world.is_over() {
            self.unique += 16;
            let unique = self.number << 48 | self.unique;
            let write = self.ahead.next_write(&mut self.random, unique);
            let outcome = self.ahead.apply(&write, 0);
            let newest_before = self.world.newest_zxid();
            // Before it is sent: if sending fails, nobody knows whether it came to the server.
            self.under_way.push_back(UnderWay { write, outcome, newest_before });
            let Some(UnderWay { write, .. }) = self.under_way.back() else { return Ok(()) };
            self.client.send(&write.request())?;
        }
        if self.under_way.is_empty() {
            return Ok(());
        }
        let reply = self.client.receive()?;
        let Some(UnderWay { write, outcome, newest_before }) = self.under_way.pop_front() else {
            return Ok(());
        };
        if !outcome.is(&reply) {
            return wrong(format!("{}: {outcome:?} was due, and came {reply:?}", write.describe()));
        }
        self.world.wrote(reply.zxid, newest_before)?;
        self.answered.apply(&write, reply.zxid);
        self.written.answered += 1;
        self.written.multis += u64::from(matches!(write, Write::Multi(_)));
        let refused = match &outcome {
            Outcome::Parts(parts) => parts.iter().any(|part| matches!(part, Outcome::Refused(_))),
            outcome => matches!(outcome, Outcome::Refused(_)),
        };
        self.written.refused += u64::from(refused);
        Ok(())
    }

    /// The server has died: goes on with the session, and compares what is there with what must be.
    fn recover(&mut self) -> Result<(), Stop> {
        let found = loop {
            let options =
                client_options(TIMEOUT, Some(self.client.session().clone()), self.client.last_zxid());
            (self.client, self.life) = self.world.connect(Some(self.life), &options)?;
            match read_back(&mut self.client, &self.answered.base) {
                Err(Stop::Lost) => {}
                result => break result?,
            }
        };
        let unanswered: Vec<Write> = self.under_way.drain(..).map(|under_way| under_way.write).collect();
        let Some(took_effect) = explain(&self.answered, &unanswered, &found) else {
            return wrong(unexplained(&self.answered, &unanswered, &found, self.life));
        };
        found.nodes.values().for_each(|node| self.world.saw_zxid(node.mzxid));
        self.written.unanswered += unanswered.len() as u64;
        self.written.took_effect += took_effect as u64;
        self.written.compared += 1;
        self.answered = found.clone();
        self.ahead = found;
        Ok(())
    }
}

fn unexplained(answered: &Model, unanswered: &[Write], found: &Model, life: usize) -> String {
    let unanswered: Vec<String> =
        unanswered.iter().map(|write| format!("  {}\n", write.describe())).collect();
    format!(
        "{}: after {life} deaths, no number of the unanswered writes explains what is there\n\
         answered writes came to:\n{}unanswered:\n{}found:\n{}",
        answered.base,
        answered.describe(),
        unanswered.concat(),
        found.describe()
    )
}

/// All znodes below `base`, as the server has them.
fn read_back(client: &mut Client, base: &str) -> Result<Model, Stop> {
    client.sync(base)?;
    let listed =
        client.request(&Request::GetChildren { path: base.into(), watch: false, with_stat: true })?;
    let Answer::ChildrenAndStat(names, stat) = listed.answer else {
        return wrong(format!("{base} is not there: error {}", listed.err));
    };
    let mut found = Model::new(base.to_owned());
    // The version of the children counts creations and deletions.
    found.created = (stat.cversion + stat.num_children) / 2;
    for name in &names {
        let path = format!("{base}/{name}");
        client.send(&Request::GetData { path: path.into(), watch: false })?;
    }
    for name in names {
        let reply = client.receive()?;
        let Answer::Data(data, stat) = reply.answer else {
            return wrong(format!("{base}/{name} was listed, and is not there: error {}", reply.err));
        };
        if stat.ephemeral_owner != 0 && stat.ephemeral_owner != client.session().id {
            return wrong(format!("{base}/{name} belongs to session 0x{:x}", stat.ephemeral_owner));
        }
        let node = Node {
            data: Arc::from(data.unwrap_or_default()),
            version: stat.version,
            ephemeral: stat.ephemeral_owner != 0,
            mzxid: stat.mzxid,
        };
        found.nodes.insert(format!("{base}/{name}"), node);
    }
    Ok(found)
}
