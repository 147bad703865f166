//! Makes the handles of the catalogue's series and registers them.
//!
//! A name that the catalogue lacks, or that stands there as something else, is an error at the start, which every test
//! would show.

use std::cell::RefCell;
use std::collections::BTreeSet;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{
    Error, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, Result,
};

use super::callers::Callers;
use super::catalogue::{self, Kind, PREFIX, Series};
use super::families::Family;

/// Declares and registers under the product's prefix, and knows what was declared.
pub(super) struct Declare<'a> {
    registry: &'a Registry,
    declared: RefCell<BTreeSet<&'static str>>,
    families: RefCell<Vec<Family>>,
}

impl<'a> Declare<'a> {
    pub(super) fn new(registry: &'a Registry) -> Self {
        Self { registry, declared: RefCell::default(), families: RefCell::default() }
    }

    /// Those with labels that were declared.
    pub(super) fn families(self) -> Vec<Family> {
        self.families.into_inner()
    }

    /// What the catalogue lists and nobody declared.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        let declared = self.declared.borrow();
        catalogue::ALL.iter().map(|series| series.name).filter(|name| !declared.contains(name)).collect()
    }

    pub(super) fn counter(&self, name: &str) -> Result<IntCounter> {
        let series = self.find(name, "counter", false)?;
        self.register(IntCounter::with_opts(opts(series))?)
    }

    pub(super) fn counters(&self, name: &str) -> Result<IntCounterVec> {
        let series = self.find(name, "counter", true)?;
        self.register_all(series, IntCounterVec::new(opts(series), &labels(series))?)
    }

    /// Counters of callers.
    pub(super) fn callers(&self, name: &str) -> Result<Callers> {
        let series = self.find(name, "counter", true)?;
        let callers = Callers::try_new(format!("{PREFIX}{}", series.name), series.help, &labels(series))?;
        self.families.borrow_mut().push(Family::of_callers(series, &callers));
        self.register(callers)
    }

    pub(super) fn gauge(&self, name: &str) -> Result<IntGauge> {
        let series = self.find(name, "gauge", false)?;
        self.register(IntGauge::with_opts(opts(series))?)
    }

    pub(super) fn gauges(&self, name: &str) -> Result<IntGaugeVec> {
        let series = self.find(name, "gauge", true)?;
        self.register_all(series, IntGaugeVec::new(opts(series), &labels(series))?)
    }

    /// Gauges that are no whole numbers.
    pub(super) fn fractions(&self, name: &str) -> Result<GaugeVec> {
        let series = self.find(name, "gauge", true)?;
        self.register_all(series, GaugeVec::new(opts(series), &labels(series))?)
    }

    pub(super) fn histogram(&self, name: &str) -> Result<Histogram> {
        let series = self.find(name, "histogram", false)?;
        self.register(Histogram::with_opts(buckets(series))?)
    }

    pub(super) fn histograms(&self, name: &str) -> Result<HistogramVec> {
        let series = self.find(name, "histogram", true)?;
        self.register_all(series, HistogramVec::new(buckets(series), &labels(series))?)
    }

    fn find(&self, name: &str, kind: &str, labelled: bool) -> Result<&'static Series> {
        let fits = |series: &&Series| series.kind.as_str() == kind && series.labels.is_empty() != labelled;
        let series = catalogue::find(name).filter(fits).ok_or_else(|| {
            Error::Msg(format!(
                "{name} does not stand in the catalogue as a {kind} (labels: {labelled}); write it there"
            ))
        })?;
        self.declared.borrow_mut().insert(series.name);
        Ok(series)
    }

    fn register_all<B: MetricVecBuilder + 'static>(
        &self,
        series: &'static Series,
        vector: MetricVec<B>,
    ) -> Result<MetricVec<B>>
    where
        MetricVec<B>: Collector,
    {
        self.families.borrow_mut().push(Family::new(series, &vector));
        self.register(vector)
    }

    fn register<C: Collector + Clone + 'static>(&self, metric: C) -> Result<C> {
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
}

fn opts(series: &Series) -> Opts {
    Opts::new(format!("{PREFIX}{}", series.name), series.help)
}

fn buckets(series: &Series) -> HistogramOpts {
    let bounds = match series.kind {
        Kind::Histogram(bounds) => bounds.to_vec(),
        Kind::Counter | Kind::Gauge => Vec::new(),
    };
    HistogramOpts::from(opts(series)).buckets(bounds)
}

fn labels(series: &Series) -> Vec<&'static str> {
    series.labels.iter().map(|label| label.name).collect()
}
