//! The generator: one thread that asks when the time has come and takes in the replies.

mod ticks;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::connections::{Connections, Event, Events, Happened};
use super::load_spec::{ArrivalProcess, LoadSpec, Schedule};
use super::lost_time::Gaps;
use super::outcome::{Outcome, Outcomes};
use super::recorder::{Clock, Recorder};
use super::request_reply::Cycle;

/// A sleep may end so much too late. What is due sooner is waited for without.
const SLEEP_NOT: u64 = 1_000_000;

/// How much before a request is due nothing else is begun: a call to the kernel takes as long.
const STAND_BY: u64 = 1_500;

/// So many requests of open loops are asked in a row, at the most: one that is behind would come to
/// nothing else, as to take in the replies.
const MOST_IN_A_ROW: u32 = 64;

/// Without anything due, the time is looked at so often.
const LOOK_EVERY_MS: u16 = 20;

/// Connections that are made at once: fewer than any usual queue of clients to be accepted.
const CONNECTED_AT_ONCE: usize = 64;

/// Addresses to connect from where each has many connections to make: each has 28,000 ports, as
/// Linux is mostly set (`ip_local_port_range`), and a port waits for a minute.
const SOURCES: u32 = 250;

/// A generator and its connections.
#[derive(Debug)]
pub struct Generator {
    connections: Connections,
    groups: Vec<Members>,
    events: Events,
    /// Which of them is the next to be looked at, and how many there are.
    next: usize,
    told: usize,
    /// Requests of open loops since it was last looked what has happened.
    in_a_row: u32,
    patience: u64,
    gaps: Gaps,
    /// Until when no reply is given up, because it may have come during a gap and not been read.
    catches_up_until: u64,
}

/// The connections of a group: those from an index on.
#[derive(Debug)]
struct Members {
    pace: ArrivalProcess,
    first: usize,
    count: usize,
    /// Whose turn it is.
    turn: usize,
    schedule: Option<Schedule>,
    /// When something is to be done for all of them.
    tick: u64,
    /// Those that are to be connected again.
    gone: Vec<usize>,
}

/// When to stop sending.
#[derive(Clone, Copy, Debug)]
pub enum Until<'a> {
    /// When so much time has passed.
    Past(Duration),
    /// When so many requests of the measured group have been sent.
    Sent(u64),
    /// When the clock shows that many nanoseconds, which may be moved meanwhile.
    Told(&'a AtomicU64),
}

impl Generator {
    /// Connects. Connections that fail are outcomes, not errors. The recorders are by group.
    ///
    /// # Errors
    /// The kernel refuses the generator what it needs.
    pub fn connect(demand: &LoadSpec, recorders: &mut [Recorder]) -> io::Result<Generator> {
        Generator::connect_by(demand, recorders, Clock::start(), &AtomicBool::new(false))
    }

    /// As [`connect`](Self::connect), and leaves it at those that there are when it is interrupted.
    pub(super) fn connect_by(
        demand: &LoadSpec,
        recorders: &mut [Recorder],
        clock: Clock,
        interrupted: &AtomicBool,
    ) -> io::Result<Generator> {
        let cycles = demand.groups.iter().map(|group| Cycle::new(&group.exchanges)).collect();
        let mut connections = Connections::new(demand.address, cycles, demand.patience, clock)?;
        connections.open_with(demand.opening.clone());
        connections.let_end(demand.may_end);
        if demand.groups.iter().any(|group| group.pace.reconnects()) {
            connections.connect_from(SOURCES);
        }
        let mut first = 0;
        let groups = demand.groups.iter().enumerate().map(|(number, group)| {
            let schedule = match group.pace {
                ArrivalProcess::Open { arrivals, per_s } => {
                    Some(Schedule::new(arrivals, per_s, demand.seed.wrapping_add(number as u64)))
                }
                _ => None,
            };
            let members = Members {
                pace: group.pace,
                first,
                count: group.connections,
                turn: 0,
                schedule,
                tick: 0,
                gone: Vec::new(),
            };
            first += group.connections;
            members
        });
        let groups: Vec<Members> = groups.collect();
        let patience = demand.patience.as_nanos() as u64;
        let events = Events::new();
        let (next, told, in_a_row) = (0, 0, 0);
        let mut generator = Generator {
            connections,
            groups,
            events,
            next,
            told,
            in_a_row,
            patience,
            gaps: Gaps::default(),
            catches_up_until: 0,
        };
        generator.connect_all(recorders, interrupted)?;
        Ok(generator)
    }

    /// Lets this one of several generators ask in open loops of even distances between the others,
    /// by a time that they have in common: that part of a distance later.
    pub(super) fn ask_between_others(&mut self, common: u64, part: f64) {
        for schedule in self.groups.iter_mut().filter_map(|members| members.schedule.as_mut()) {
            schedule.keep_in_step_with(common, part);
        }
    }

    fn connect_all(
        &mut self,
        recorders: &mut [Recorder],
        interrupted: &AtomicBool,
    ) -> io::Result<()> {
        let goes_on = || !interrupted.load(Relaxed);
        for group in 0..self.groups.len() {
            for _ in 0..self.groups[group].count {
                if self.groups[group].pace.reconnects() || !goes_on() {
                    self.connections.place(group as u16);
                    continue;
                }
                // Each of them would take as long.
                if self.connections.has_timed_out(group) {
                    self.connections.despair(group as u16);
                    continue;
                }
                let index = self.connections.connect(group as u16, &mut recorders[group])?;
                self.begin_if_idle(index, recorders);
                while self.connections.connecting() >= CONNECTED_AT_ONCE && goes_on() {
                    self.take_in(recorders)?;
                }
            }
        }
        // What is not answered is overdue at last.
        let idle: Vec<usize> = (0..self.groups.len())
            .filter(|&it| self.groups[it].pace == ArrivalProcess::Idle)
            .collect();
        while goes_on()
            && (self.connections.connecting() > 0
                || idle.iter().any(|&group| self.connections.under_way(group) > 0))
        {
            self.take_in(recorders)?;
        }
        Ok(())
    }

    fn begin_if_idle(&mut self, index: usize, recorders: &mut [Recorder]) {
        let group = self.connections.group(index);
        if self.groups[group].pace == ArrivalProcess::Idle && self.connections.is_open(index) {
            self.begin(index, None, recorders);
        }
    }

    /// Takes in what comes, while nobody is to ask.
    fn take_in(&mut self, recorders: &mut [Recorder]) -> io::Result<()> {
        let mut event = self.next_event(LOOK_EVERY_MS)?;
        while let Some(it) = event {
            let group = self.connections.group(it.index);
            if self.connections.happen(it, &mut recorders[group])? == Happened::Connected {
                self.begin_if_idle(it.index, recorders);
            }
            event = self.pending();
        }
        self.connections.give_up_overdue(self.now(), recorders);
        Ok(())
    }

    /// The next thing that has happened, which is waited for so long if need be.
    fn next_event(&mut self, milliseconds: u16) -> io::Result<Option<Event>> {
        if self.next == self.told {
            self.told = self.connections.wait(&mut self.events, milliseconds)?;
            self.next = 0;
            if self.told == 0 {
                self.catches_up_until = 0;
            }
        }
        Ok(self.pending())
    }

    fn pending(&mut self) -> Option<Event> {
        let event = (self.next < self.told).then(|| self.events.get(self.next))?;
        self.next += 1;
        Some(event)
    }

    /// The clock of its times.
    pub(super) fn now(&self) -> u64 {
        self.connections.clock.now()
    }

    /// What became of a group's connections so far; those that live and were answered count as
    /// answered.
    pub fn connection_outcomes(&self, group: usize) -> Outcomes {
        self.connections.outcomes(group)
    }

    /// Asks until it is time to stop; then waits for the replies that are due to the measured
    /// group, and gives up what the others have under way. Gives the time at which it stopped
    /// asking. The recorders are by group.
    ///
    /// # Errors
    /// The kernel refuses the generator what it needs.
    pub fn run(&mut self, until: Until<'_>, recorders: &mut [Recorder]) -> io::Result<u64> {
        let began = self.now();
        let mut quota = Quota::new(until, began);
        self.start(began, &mut quota, recorders);
        let (mut stopped, mut waited_ms) = (None, 0);
        loop {
            let now = self.connections.look_at_clock(0, &mut recorders[0]);
            self.look_for_gap(now, waited_ms, stopped.is_some(), recorders[0].since());
            waited_ms = 0;
            if stopped.is_none() && (quota.is_used_up(now) || !self.has_hope()) {
                stopped = Some(now.min(quota.end()));
                recorders.iter_mut().for_each(|recorder| recorder.finish(now));
            }
            if now >= self.catches_up_until {
                self.connections.give_up_overdue(now, recorders);
            }
            let (due, tick) = match stopped {
                None => {
                    recorders.iter_mut().for_each(|recorder| recorder.look(now));
                    self.do_what_is_due(now, quota.end(), recorders)?;
                    (self.next_due(u64::MAX), self.next_tick())
                }
                Some(end) => {
                    // What was due before the end is asked, however late that is.
                    self.ask_what_is_due(now, end, recorders);
                    let due = self.next_due(end);
                    if self.is_over(end, now, due) {
                        self.give_up(end, recorders);
                        return Ok(end);
                    }
                    (due, u64::MAX)
                }
            };
            let is_behind = self.in_a_row >= MOST_IN_A_ROW;
            let wait = if is_behind { Some(0) } else { self.may_wait(due, tick) };
            let Some(milliseconds) = wait else { continue };
            self.in_a_row = 0;
            waited_ms = milliseconds;
            let mut event = self.next_event(milliseconds)?;
            while let Some(it) = event {
                self.take(it, stopped.is_none().then_some(&mut quota), recorders)?;
                // Where nothing will be due, nothing can be late; nor can what is late already.
                event = if due == u64::MAX || is_behind { self.pending() } else { None };
            }
        }
    }

    /// Whether nothing is waited for any more, so long after the end: no reply, and no request that
    /// was due before it.
    fn is_over(&self, end: u64, now: u64, due: u64) -> bool {
        let is_answered = self.connections.under_way(0) == 0 && due == u64::MAX;
        let gives_up_at = end.saturating_add(self.patience).max(self.catches_up_until);
        is_answered || now > gives_up_at
    }

    /// Looks whether the loop has had a gap. One after the end of the run costs no figure.
    fn look_for_gap(&mut self, now: u64, waited_ms: u16, is_over: bool, since: u64) {
        let counts_from = if is_over { u64::MAX } else { since };
        if self.gaps.look(now, u64::from(waited_ms) * 1_000_000, counts_from) > 0 {
            self.catches_up_until = now + self.patience;
        }
    }

    /// The gaps of the loop so far.
    pub(super) fn gaps(&self) -> &Gaps {
        &self.gaps
    }

    /// Nothing is waited for any more. What was due before the end and was not asked is in flight,
    /// as far as anybody can tell who asked for it.
    fn give_up(&mut self, end: u64, recorders: &mut [Recorder]) {
        let now = self.now();
        for (group, recorder) in recorders.iter_mut().enumerate() {
            self.connections.abandon(group, recorder);
            let Some(schedule) = &mut self.groups[group].schedule else { continue };
            while schedule.due() < end {
                recorder.not_sent(Outcome::InFlight, schedule.due(), now);
                schedule.advance();
            }
        }
    }

    /// For how many milliseconds something may be waited for in the kernel. `None` where that
    /// might make the next request late; what is to be done at a tick may be.
    fn may_wait(&self, due: u64, tick: u64) -> Option<u16> {
        if due.min(tick) == u64::MAX {
            return Some(LOOK_EVERY_MS);
        }
        let now = self.now();
        let left = due.saturating_sub(now);
        let before_due = left.saturating_sub(SLEEP_NOT) / 1_000_000;
        let milliseconds = before_due.min(tick.saturating_sub(now).div_ceil(1_000_000));
        (left > STAND_BY).then_some(milliseconds.min(LOOK_EVERY_MS.into()) as u16)
    }

    /// What every connection does first.
    fn start(&mut self, now: u64, quota: &mut Quota<'_>, recorders: &mut [Recorder]) {
        for group in 0..self.groups.len() {
            let members = &mut self.groups[group];
            members.tick = now;
            if let Some(schedule) = &mut members.schedule {
                schedule.begin(now);
            }
            for index in members.first..members.first + members.count {
                match self.groups[group].pace {
                    ArrivalProcess::Churn => self.groups[group].gone.push(index),
                    // They have asked when they were connected.
                    ArrivalProcess::Idle => {}
                    _ if self.connections.is_open(index) => {
                        self.begin(index, Some(quota), recorders);
                    }
                    _ => {}
                }
            }
        }
    }

    /// A connection asks for the first time, as far as there is a quota.
    fn begin(&mut self, index: usize, quota: Option<&mut Quota<'_>>, recorders: &mut [Recorder]) {
        let (group, now) = (self.connections.group(index), self.now());
        let recorder = &mut recorders[group];
        let wanted = match self.groups[group].pace {
            ArrivalProcess::Closed { depth } => depth,
            ArrivalProcess::Open { .. } => return,
            _ => 1,
        };
        let count = match quota {
            Some(quota) if group == 0 => quota.take(wanted, now),
            _ => wanted,
        };
        match self.groups[group].pace {
            _ if count == 0 => {}
            ArrivalProcess::Drip { .. } => {
                self.connections.promise(index, count, None, now, recorder);
            }
            _ => self.connections.ask(index, count, None, now, recorder),
        }
    }

    /// Whether there is anybody of the measured group left who may ask.
    fn has_hope(&self) -> bool {
        let measured = &self.groups[0];
        measured.pace.reconnects()
            || (measured.first..measured.first + measured.count)
                .any(|index| !self.connections.is_free(index))
    }

    /// When the next request of an open loop is due, of those that are so before the end.
    fn next_due(&self, end: u64) -> u64 {
        let due = self.groups.iter().filter_map(|members| Some(members.schedule.as_ref()?.due()));
        due.filter(|&due| due < end).min().unwrap_or(u64::MAX)
    }

    /// Requests of open loops whose time has come before the end, each by the next connection that
    /// lasts, and no more in a row than may be.
    fn ask_what_is_due(&mut self, mut now: u64, end: u64, recorders: &mut [Recorder]) {
        for (members, recorder) in self.groups.iter_mut().zip(recorders) {
            let Some(schedule) = &mut members.schedule else { continue };
            while schedule.due() <= now && schedule.due() < end && self.in_a_row < MOST_IN_A_ROW {
                let next = (0..members.count)
                    .map(|step| members.first + (members.turn + step) % members.count)
                    .find(|&index| self.connections.is_open(index));
                let intended = schedule.due();
                match next {
                    Some(index) => {
                        members.turn = index - members.first + 1;
                        self.connections.ask(index, 1, Some(intended), now, recorder);
                    }
                    // There is none any more.
                    None => recorder.not_sent(Outcome::Closed, intended, now),
                }
                schedule.advance();
                self.in_a_row += 1;
                now = self.connections.clock.now();
            }
        }
    }

    /// Does what an event is about, and lets the connection go on as far as there is a quota.
    fn take(
        &mut self,
        event: Event,
        quota: Option<&mut Quota<'_>>,
        recorders: &mut [Recorder],
    ) -> io::Result<()> {
        let (index, group) = (event.index, self.connections.group(event.index));
        let recorder = &mut recorders[group];
        let happened = self.connections.happen(event, recorder)?;
        let Some(quota) = quota else { return Ok(()) };
        match (self.groups[group].pace, happened) {
            (ArrivalProcess::Closed { .. }, Happened::Connected) => {
                self.begin(index, Some(quota), recorders)
            }
            (ArrivalProcess::Closed { .. }, Happened::Replied(count, at)) => {
                let count = if group > 0 { count } else { quota.take(count, at) };
                if count > 0 && self.connections.is_open(index) {
                    self.connections.ask(index, count, None, at, recorder);
                }
            }
            (ArrivalProcess::Churn, Happened::Replied(_, at)) => {
                if self.connections.is_open(index) {
                    self.connections.close(index, recorder);
                }
                if !quota.is_used_up(at) {
                    self.connect_again(index, recorders)?;
                }
            }
            (ArrivalProcess::Open { .. }, _) | (_, Happened::Nothing | Happened::Ended) => {}
            (_, Happened::Connected) => self.begin(index, None, recorders),
            (_, Happened::Replied(..)) => {}
        }
        self.come_again(index);
        Ok(())
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.connections.reset_at_the_end();
    }
}

/// What may still be asked.
struct Quota<'a> {
    until: Until<'a>,
    began: u64,
    sent: u64,
}

impl Quota<'_> {
    fn new(until: Until<'_>, began: u64) -> Quota<'_> {
        Quota { until, began, sent: 0 }
    }

    /// The time at which it ends, where there is one.
    fn end(&self) -> u64 {
        match self.until {
            Until::Past(time) => self.began + time.as_nanos() as u64,
            Until::Sent(_) => u64::MAX,
            Until::Told(end) => end.load(Relaxed),
        }
    }

    fn is_used_up(&self, now: u64) -> bool {
        match self.until {
            Until::Sent(most) => self.sent >= most,
            _ => now >= self.end(),
        }
    }

    /// How many of so many requests may be sent.
    fn take(&mut self, wanted: u32, now: u64) -> u32 {
        let granted = match self.until {
            Until::Sent(most) => u64::from(wanted).min(most - self.sent) as u32,
            _ if now >= self.end() => 0,
            _ => wanted,
        };
        self.sent += u64::from(granted);
        granted
    }
}

#[cfg(test)]
mod tests;
