# Logs of pods and nodes, a topic for alarms, and who is told.

data "aws_caller_identity" "current" {}
data "aws_region" "current" {}

locals {
  # Names are those that the CloudWatch add-on writes to; made here for their retention and their key.
  log_groups = {
    services    = "/aws/containerinsights/${var.cluster_name}/application"
    dataplane   = "/aws/containerinsights/${var.cluster_name}/dataplane"
    host        = "/aws/containerinsights/${var.cluster_name}/host"
    performance = "/aws/containerinsights/${var.cluster_name}/performance"
  }
}

resource "aws_cloudwatch_log_group" "this" {
  for_each = local.log_groups

  name              = each.value
  retention_in_days = var.log_retention_days
  kms_key_id        = var.logs_key_arn
}

resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = var.messages_key_arn
}

resource "aws_sns_topic_policy" "alarms" {
  arn = aws_sns_topic.alarms.arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "AlarmsBudgetsAndDatabases"
      Effect    = "Allow"
      Principal = { Service = ["cloudwatch.amazonaws.com", "budgets.amazonaws.com", "events.rds.amazonaws.com"] }
      Action    = "sns:Publish"
      Resource  = aws_sns_topic.alarms.arn
      Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.current.account_id } }
    }]
  })
}

resource "aws_sns_topic_subscription" "email" {
  for_each = var.emails

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.value
}

resource "aws_db_event_subscription" "this" {
  name             = var.name
  sns_topic        = aws_sns_topic.alarms.arn
  source_type      = "db-instance"
  source_ids       = concat([var.databases.primary], var.databases.replicas)
  event_categories = ["failover", "failure", "low storage", "maintenance", "read replica", "recovery"]

  depends_on = [aws_sns_topic_policy.alarms]
}
