# What rtcctl reads. Fields are added, never renamed; a change of meaning raises `schema`.
output "rtc" {
  description = "Everything that a tool needs to know of the environment; no secrets, only where they are."
  value = {
    schema      = 1
    environment = var.environment
    account_id  = local.account
    region      = local.region

    network = {
      vpc_id             = module.network.vpc_id
      private_subnet_ids = module.network.private_subnet_ids
      nat_addresses      = module.network.nat_addresses
      security_group_ids = module.network.security_group_ids
    }

    cluster = {
      name               = module.eks.name
      arn                = module.eks.arn
      endpoint           = module.eks.endpoint
      kubernetes_version = module.eks.kubernetes_version
      oidc_issuer        = module.eks.oidc_issuer
      node_groups        = module.eks.node_groups
      namespace          = var.namespace
      roles              = { for name, workload in module.iam.workload_roles : name => workload.role_arn }
    }

    images = {
      registry     = "${module.ecr.registry_id}.dkr.ecr.${local.region}.amazonaws.com"
      repositories = module.ecr.repository_urls
    }

    database = {
      identifier        = module.rds.identifier
      host              = module.rds.host
      reader_hosts      = module.rds.reader_hosts
      port              = module.rds.port
      url               = "mysql://rtc_{service}@${module.rds.host}:${module.rds.port}/rtc_{service}"
      master_secret_arn = module.rds.master_secret_arn
      secret_arns       = module.rds.service_secret_arns
    }

    cache = {
      id          = module.cache.id
      host        = module.cache.host
      reader_host = module.cache.reader_host
      port        = module.cache.port
      tls         = true
      secret_arn  = module.cache.secret_arn
    }

    events = {
      backend     = module.events.backend
      bootstrap   = module.events.bootstrap
      security    = module.events.security
      mechanism   = module.events.mechanism
      username    = module.events.username
      replication = module.events.replication
      secret_arn  = module.events.secret_arn
    }

    search = {
      name            = module.search.name
      url             = module.search.url
      master_role_arn = module.search.master_role_arn
    }

    storage = {
      buckets        = module.storage.buckets
      file_system_id = module.storage.file_system_id
    }

    queues = { for name, queue in module.queue.queues : name => { url = queue.url, arn = queue.arn, dead_url = queue.dead_url, dead_arn = queue.dead_arn } }

    mail = {
      domain             = module.mail.domain
      configuration_set  = module.mail.configuration_set
      feedback_topic_arn = module.mail.feedback_topic_arn
      smtp_host          = module.mail.smtp_host
      smtp_port          = 587
      smtp_secret_arn    = module.mail.smtp_secret_arn
    }

    edge = {
      hosts             = module.edge.hosts
      zone_id           = module.edge.zone_id
      name_servers      = module.edge.name_servers
      certificate_arn   = module.edge.certificate_arn
      load_balancer_dns = module.edge.load_balancer_dns
      target_group_arn  = module.edge.target_group_arn
      api_id            = module.edge.api_id
    }

    ci = {
      instance_id      = module.ci.instance_id
      role_arn         = module.ci.role_arn
      session_document = module.ci.session_document
      port             = 8080
    }

    operator_policy_arn = module.iam.operator_policy_arn

    alarms = {
      topic_arn = module.observability.topic_arn
      dashboard = module.observability.dashboard
      names     = module.observability.alarm_names
    }

    log_groups = {
      services      = module.observability.log_groups["services"]
      nodes         = [for name in ["dataplane", "host", "performance"] : module.observability.log_groups[name]]
      control_plane = module.eks.log_group
      database      = module.rds.log_groups
      cache         = module.cache.log_groups
      events        = module.events.log_group
      search        = module.search.log_groups
      edge          = module.edge.log_groups
      flow          = module.network.log_group
      sessions      = module.ci.log_group
    }

    budget = module.budget.name
  }
}
