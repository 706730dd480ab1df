//! A service, and how one is put together.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use db::{Db, Migrations, params};
use kernel::Clock;
use messaging::{Consumer, Every, Job, Leases, Outbox, Progress, Pump, Relay};
use web::{RouteInfo, Routes};

use crate::observe::{self, DeliveryObserver};
use crate::reseal::{self, Reseal, SealedRows};
use crate::{Context, StartError};

/// How long handled event ids are kept: as long as the topics keep their messages, and a day more.
const INBOX_KEPT_FOR: Duration = Duration::from_secs(8 * 86_400);

/// A service, ready to run.
pub struct Service {
    pub name: &'static str,
    pub db: Db,
    /// The migrations that were applied when it was opened.
    pub migrated: Vec<String>,
    /// The public routes under their full paths.
    pub router: Router,
    pub routes: Vec<RouteInfo>,
    /// Operator's routes, served on the admin port under `/admin`.
    pub admin: Router,
    pub pumps: Vec<Arc<dyn Pump>>,
}

/// Puts a service together: its database is open and migrated from the start.
pub struct ServiceBuilder {
    context: Context,
    service: Service,
    outbox: Outbox,
    /// Of the consumers.
    groups: Vec<String>,
    /// `None` where the database is this process's alone.
    leases: Option<Leases>,
}

impl Service {
    pub async fn builder(
        name: &'static str,
        context: &Context,
        migrations: &'static [Migrations],
    ) -> Result<ServiceBuilder, StartError> {
        let db = context.databases.open(name).await?;
        let db = db.around(|engine| observe::measured(&context.measures, name, engine));
        let migrated = db
            .migrate(migrations)
            .await
            .map_err(|source| StartError::Database { name: name.to_owned(), source })?;
        let outbox = Outbox::new(name, context.clock.clone(), context.ids.clone());
        let leases = (!db.is_commit_ordered()).then(|| Leases::new(db.clone(), context.instance.clone()));
        let service = Service {
            name,
            db,
            migrated,
            router: Router::new(),
            routes: Vec::new(),
            admin: Router::new(),
            pumps: Vec::new(),
        };
        context.edge.metrics.expect(name);
        Ok(ServiceBuilder { context: context.clone(), service, outbox, groups: Vec::new(), leases })
    }
}

impl ServiceBuilder {
    pub fn db(&self) -> Db {
        self.service.db.clone()
    }

    pub fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }

    pub fn routes<S: Clone + Send + Sync + 'static>(&mut self, routes: Routes<S>, state: S) -> &mut Self {
        self.service.routes.extend(routes.table());
        let router = std::mem::take(&mut self.service.router);
        self.service.router = router.merge(routes.into_router(&self.context.edge, state));
        self
    }

    /// Operator's routes: served on the admin port, behind the operator's token.
    pub fn admin(&mut self, router: Router) -> &mut Self {
        let admin = std::mem::take(&mut self.service.admin);
        self.service.admin = admin.merge(router);
        self
    }

    pub fn consume(&mut self, consumer: Consumer) -> &mut Self {
        self.expect(&consumer);
        let pump = consumer.start(self.db(), self.context.bus.clone(), self.context.clock.clone());
        self.service.pumps.push(Arc::new(pump));
        self
    }

    /// Its lag is looked at from now on.
    fn expect(&mut self, consumer: &Consumer) {
        let group = consumer.group().to_owned();
        let mut groups = self.context.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.extend(consumer.topics().iter().map(|topic| (group.clone(), topic.name)));
        self.groups.push(group);
    }

    /// Adds work beside the requests. Where other processes have the same database, one of them does it, by lease.
    pub fn pump(&mut self, pump: Arc<dyn Pump>) -> &mut Self {
        let pump = match &self.leases {
            Some(leases) => leases.leased(pump),
            None => pump,
        };
        self.service.pumps.push(pump);
        self
    }

    /// Adds work on what is this process's own: every process does it.
    pub fn pump_here(&mut self, pump: Arc<dyn Pump>) -> &mut Self {
        self.service.pumps.push(pump);
        self
    }

    /// A job that the host runs every `interval`, and a test at every turn.
    pub fn every(&mut self, what: &str, interval: Duration, job: impl Job + 'static) -> &mut Self {
        let name = format!("{}.{what}", self.service.name);
        self.pump(Arc::new(Every::new(name, interval, job)))
    }

    /// Tables whose values the vault has sealed: after a rotation of its keys they are sealed anew.
    pub fn seals(&mut self, tables: &'static [SealedRows]) -> &mut Self {
        let job = Reseal::new(self.service.name, &self.context, self.db(), tables);
        self.every("reseal", reseal::LOOK_EVERY, job)
    }

    /// Adds what every service has: the relay, and sweeps of what is kept for a while.
    pub fn build(mut self) -> Service {
        let name = self.service.name;
        let is_file = self.context.config.engines.database_url(name).is_none();
        self.context.observe(Arc::new(DeliveryObserver {
            service: name,
            name: format!("{name}.delivery"),
            db: self.db(),
            clock: self.context.clock.clone(),
            measures: self.context.measures.clone(),
            groups: std::mem::take(&mut self.groups),
            file: is_file.then(|| self.context.config.data.join(format!("{name}.db"))),
            told: Default::default(),
        }));
        let relay = Relay::new(self.service.name, self.db(), self.context.bus.clone(), &self.outbox);
        self.pump(Arc::new(relay.measured(&self.context.measures.relay_lag)));
        let sweep = Sweep { db: self.db(), clock: self.context.clock.clone() };
        self.every("sweep", Duration::from_secs(3_600), sweep);
        self.service
    }
}

struct Sweep {
    db: Db,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Job for Sweep {
    async fn run(&self) -> kernel::Result<Progress> {
        let now = self.clock.now();
        // Each a transaction of its own: those that others share are short.
        let answers = self.db.write(move |tx| -> Result<usize, db::Error> {
            let sql = "SELECT 1 FROM schema_migrations WHERE component = 'idempotency'";
            match tx.unlocked().query_opt(sql, params![], |_| Ok(()))? {
                Some(()) => web::sweep(tx, now),
                None => Ok(0),
            }
        });
        let answers = answers.await?;
        let inbox = self.db.write(move |tx| messaging::sweep_inbox(tx, now.minus(INBOX_KEPT_FOR))).await?;
        Ok(Progress::from_count(answers + inbox))
    }
}
