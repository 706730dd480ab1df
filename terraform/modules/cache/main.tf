# Redis for what can be fetched again: evicts the least recently used, speaks TLS only, asks for a token.

resource "aws_elasticache_subnet_group" "this" {
  name        = var.name
  description = "Database subnets of ${var.name}"
  subnet_ids  = var.subnet_ids
}

resource "aws_elasticache_parameter_group" "this" {
  name        = "${var.name}-redis7"
  family      = "redis7"
  description = "A cache: what was not asked for longest goes first"

  parameter {
    name  = "maxmemory-policy"
    value = "allkeys-lru"
  }
}

resource "aws_cloudwatch_log_group" "this" {
  for_each = toset(["slow", "engine"])

  name              = "/rtc/${var.name}/cache/${each.value}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.logs_key_arn
}

ephemeral "aws_secretsmanager_random_password" "token" {
  password_length     = 64
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret" "token" {
  #checkov:skip=CKV2_AWS_57:A new token is given by raising token_version; the replication group has to learn it in the same apply
  name                    = "rtc/${var.name}/cache"
  description             = "Token of the cache"
  kms_key_id              = var.data_key_arn
  recovery_window_in_days = var.secret_recovery_days
}

resource "aws_secretsmanager_secret_version" "token" {
  secret_id                = aws_secretsmanager_secret.token.id
  secret_string_wo         = jsonencode({ password = ephemeral.aws_secretsmanager_random_password.token.random_password })
  secret_string_wo_version = var.token_version
}

# The one secret that passes through the state: auth_token has no write-only form in this version of the provider. It is
# read back from Secrets Manager, so that secret and cache cannot come to disagree after an apply that broke off between them.
data "aws_secretsmanager_secret_version" "token" {
  secret_id  = aws_secretsmanager_secret.token.id
  version_id = aws_secretsmanager_secret_version.token.version_id
}

resource "aws_elasticache_replication_group" "this" {
  #checkov:skip=CKV2_AWS_50:Automatic failover is on as soon as there is a replica; dev has none
  replication_group_id       = var.name
  description                = "Cache of ${var.name}"
  engine                     = "redis"
  engine_version             = var.engine_version
  node_type                  = var.node_type
  num_cache_clusters         = var.replicas + 1
  automatic_failover_enabled = var.replicas > 0
  multi_az_enabled           = var.replicas > 0
  port                       = 6379
  subnet_group_name          = aws_elasticache_subnet_group.this.name
  security_group_ids         = [var.security_group_id]
  parameter_group_name       = aws_elasticache_parameter_group.this.name
  at_rest_encryption_enabled = true
  kms_key_id                 = var.data_key_arn
  transit_encryption_enabled = true
  transit_encryption_mode    = "required"
  auth_token                 = jsondecode(data.aws_secretsmanager_secret_version.token.secret_string).password
  auth_token_update_strategy = "ROTATE"
  snapshot_retention_limit   = var.snapshot_days
  snapshot_window            = "18:00-19:00"
  maintenance_window         = "sun:19:30-sun:20:30"
  auto_minor_version_upgrade = true
  apply_immediately          = true

  dynamic "log_delivery_configuration" {
    for_each = aws_cloudwatch_log_group.this

    content {
      destination      = log_delivery_configuration.value.name
      destination_type = "cloudwatch-logs"
      log_format       = "json"
      log_type         = "${log_delivery_configuration.key}-log"
    }
  }
}
