# An environment: every module once, and what each needs of the others. Environments differ in values alone.

data "aws_caller_identity" "current" {}
data "aws_region" "current" {}

locals {
  name                 = "rtc-${var.environment}"
  secret_recovery_days = var.protected ? 30 : 0
  machines_stop        = !var.protected
}

module "keys" {
  source = "../keys"

  name                 = local.name
  deletion_window_days = var.protected ? 30 : 7
}

module "network" {
  source = "../network"

  name                     = local.name
  cidr                     = var.cidr
  zones                    = var.zones
  nat                      = var.network.nat
  interface_endpoints      = var.network.interface_endpoints
  interface_endpoint_zones = var.network.interface_endpoint_zones
  log_retention_days       = var.log_retention_days
  logs_key_arn             = module.keys.arns["logs"]
  data_key_arn             = module.keys.arns["data"]
}

module "ecr" {
  source = "../ecr"

  name                  = local.name
  images                = var.images
  key_arn               = module.keys.arns["data"]
  deletable_with_images = !var.protected
}

module "storage" {
  source = "../storage"

  name                   = local.name
  deletable_with_objects = !var.protected
  log_days               = var.log_retention_days
  data_key_arn           = module.keys.arns["data"]
  subnet_ids             = module.network.private_subnet_ids
  security_group_id      = module.network.security_group_ids["files"]
}

module "queue" {
  source = "../queue"

  name    = local.name
  key_arn = module.keys.arns["messages"]
}

module "rds" {
  source = "../rds"

  name                 = local.name
  engine_version       = var.database.engine_version
  instance_class       = var.database.instance_class
  storage_gib          = var.database.storage_gib
  storage_max_gib      = var.database.storage_max_gib
  multi_az             = var.database.multi_az
  replicas             = var.database.replicas
  backup_days          = var.database.backup_days
  performance_insights = var.database.performance_insights
  password_version     = var.database.password_version
  deletion_protection  = var.protected
  apply_immediately    = !var.protected
  subnet_ids           = module.network.database_subnet_ids
  security_group_id    = module.network.security_group_ids["rds"]
  services             = toset([for name, service in var.services : name if service.database])
  data_key_arn         = module.keys.arns["data"]
  logs_key_arn         = module.keys.arns["logs"]
  log_retention_days   = var.log_retention_days
  secret_recovery_days = local.secret_recovery_days
}

module "cache" {
  source = "../cache"

  name                 = local.name
  node_type            = var.cache.node_type
  replicas             = var.cache.replicas
  token_version        = var.cache.token_version
  subnet_ids           = module.network.database_subnet_ids
  security_group_id    = module.network.security_group_ids["cache"]
  data_key_arn         = module.keys.arns["data"]
  logs_key_arn         = module.keys.arns["logs"]
  log_retention_days   = var.log_retention_days
  secret_recovery_days = local.secret_recovery_days
}

module "events" {
  source = "../events"

  name                 = local.name
  backend              = var.events.backend
  msk                  = var.events.msk
  ec2                  = var.events.ec2
  password_version     = var.events.password_version
  subnets              = module.network.private_subnets
  security_group_id    = module.network.security_group_ids["events"]
  data_key_arn         = module.keys.arns["data"]
  logs_key_arn         = module.keys.arns["logs"]
  log_retention_days   = var.log_retention_days
  secret_recovery_days = local.secret_recovery_days
  protected            = var.protected
  stopped_at_budget    = local.machines_stop
}

module "search" {
  source = "../search"

  name                  = local.name
  instance_type         = var.search.instance_type
  instances             = var.search.instances
  dedicated_master_type = var.search.dedicated_master_type
  disk_gib              = var.search.disk_gib
  subnet_ids            = module.network.database_subnet_ids
  security_group_id     = module.network.security_group_ids["search"]
  admins                = var.admins
  clients               = [for name, service in var.services : module.iam.workload_roles[name].role_arn if service.search]
  data_key_arn          = module.keys.arns["data"]
  logs_key_arn          = module.keys.arns["logs"]
  log_retention_days    = var.log_retention_days
}

module "edge" {
  source = "../edge"

  name                    = local.name
  domain                  = var.domain
  create_zone             = var.create_zone
  vpc_id                  = module.network.vpc_id
  vpc_cidr                = module.network.cidr
  public_subnet_ids       = module.network.public_subnet_ids
  private_subnet_ids      = module.network.private_subnet_ids
  alb_security_group_id   = module.network.security_group_ids["alb"]
  link_security_group_id  = module.network.security_group_ids["link"]
  log_bucket              = module.storage.log_bucket
  logs_key_arn            = module.keys.arns["logs"]
  log_retention_days      = var.log_retention_days
  requests_per_5_minutes  = var.edge.requests_per_5_minutes
  api_requests_per_second = var.edge.api_requests_per_second
  api_burst               = var.edge.api_burst
  deletion_protection     = var.protected
}

module "mail" {
  source = "../mail"

  name                 = local.name
  domain               = var.domain
  zone_id              = module.edge.zone_id
  key_arn              = module.keys.arns["messages"]
  data_key_arn         = module.keys.arns["data"]
  secret_recovery_days = local.secret_recovery_days
}

module "iam" {
  source = "../iam"

  name                  = local.name
  cluster_name          = local.name
  workloads             = local.workloads
  session_document      = module.ci.session_document
  session_key_arn       = module.keys.arns["data"]
  session_instance_arns = { ci = module.ci.instance_arn }
}

module "eks" {
  source = "../eks"

  name                      = local.name
  kubernetes_version        = var.cluster.kubernetes_version
  addon_versions            = var.cluster.addon_versions
  node_groups               = var.cluster.node_groups
  subnet_ids                = module.network.private_subnet_ids
  cluster_security_group_id = module.network.security_group_ids["cluster"]
  node_security_group_id    = module.network.security_group_ids["nodes"]
  public_access_cidrs       = var.public_access_cidrs
  admins                    = var.admins
  deployers                 = { ci = module.ci.role_arn }
  namespace                 = var.namespace
  workload_roles            = module.iam.workload_roles
  secrets_key_arn           = module.keys.arns["cluster"]
  data_key_arn              = module.keys.arns["data"]
  logs_key_arn              = module.keys.arns["logs"]
  log_retention_days        = var.log_retention_days
  tags                      = var.tags
}

module "ci" {
  source = "../ci"

  name               = local.name
  instance_type      = var.ci.instance_type
  disk_gib           = var.ci.disk_gib
  subnet_id          = module.network.private_subnet_ids[0]
  availability_zone  = var.zones[0]
  security_group_id  = module.network.security_group_ids["ci"]
  repository_arns    = values(module.ecr.repository_arns)
  cluster_name       = local.name
  cache_bucket_arn   = module.storage.bucket_arns["caches"]
  data_key_arn       = module.keys.arns["data"]
  logs_key_arn       = module.keys.arns["logs"]
  log_retention_days = var.log_retention_days
  protected          = var.protected
  stopped_at_budget  = local.machines_stop
}

module "observability" {
  source = "../observability"

  name               = local.name
  emails             = var.emails
  log_retention_days = var.log_retention_days
  logs_key_arn       = module.keys.arns["logs"]
  messages_key_arn   = module.keys.arns["messages"]
  cluster_name       = local.name
  cache_nodes        = module.cache.member_ids
  search_domain      = module.search.name
  queues             = { for name, queue in module.queue.queues : name => { name = queue.name, dead_name = queue.dead_name } }
  api_id             = module.edge.api_id
  nat_gateways       = module.network.nat_gateway_ids
  machines           = merge(module.network.instance_ids, module.events.instance_ids, { ci = module.ci.instance_id })

  databases = {
    primary      = module.rds.identifier
    replicas     = module.rds.replica_identifiers
    free_gib_min = 5
  }

  events = {
    backend   = var.events.backend
    cluster   = local.name
    instances = module.events.instance_ids
  }

  load_balancer = {
    suffix              = module.edge.load_balancer_suffix
    target_group_suffix = module.edge.target_group_suffix
  }
}

module "budget" {
  source = "../budget"

  name                = local.name
  monthly_usd         = var.budget.monthly_usd
  cost_tag            = var.budget.cost_tag
  stop_by_itself      = var.budget.stop_by_itself
  emails              = var.emails
  topic_arn           = module.observability.topic_arn
  stoppable_instances = local.machines_stop ? merge(module.events.instance_ids, { ci = module.ci.instance_id }) : {}
}
