# Kafka: by MSK or on EC2. Both end in the same thing: brokers that ask for SCRAM-SHA-512 on port 9096, and a secret.

locals {
  username = "rtc"
  zones    = sort(keys(var.subnets))

  # A topic survives the loss of a zone, and nothing is acknowledged that one broker alone has.
  replication = min(3, local.brokers)
  brokers     = var.backend == "msk" ? var.msk.brokers_per_zone * length(local.zones) : var.ec2.brokers
  server_properties = {
    "auto.create.topics.enable"        = "false"
    "default.replication.factor"       = tostring(local.replication)
    "min.insync.replicas"              = tostring(max(1, local.replication - 1))
    "offsets.topic.replication.factor" = tostring(local.replication)
    "num.partitions"                   = "4"
    "log.retention.hours"              = "168"
    "message.max.bytes"                = "1048588"
    "unclean.leader.election.enable"   = "false"
  }
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/rtc/${var.name}/events"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.logs_key_arn
}

ephemeral "aws_secretsmanager_random_password" "client" {
  password_length     = 32
  exclude_punctuation = true
}

# MSK insists on the beginning of the name.
resource "aws_secretsmanager_secret" "client" {
  #checkov:skip=CKV2_AWS_57:A new password is given by raising password_version; MSK reads the secret itself
  name                    = "AmazonMSK_${var.name}"
  description             = "User of the event brokers"
  kms_key_id              = var.data_key_arn
  recovery_window_in_days = var.secret_recovery_days
}

resource "aws_secretsmanager_secret_version" "client" {
  secret_id = aws_secretsmanager_secret.client.id
  secret_string_wo = jsonencode({
    username = local.username
    password = ephemeral.aws_secretsmanager_random_password.client.random_password
  })
  secret_string_wo_version = var.password_version
}
