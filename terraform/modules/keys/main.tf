# KMS keys, one a purpose: who may read logs need not be able to read data.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.name

  # IAM decides inside the account; without this statement nobody could, not even to change the policy.
  administration = {
    Sid       = "Account"
    Effect    = "Allow"
    Principal = { AWS = "arn:${local.partition}:iam::${local.account}:root" }
    Action    = "kms:*"
    Resource  = "*"
  }

  use = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]

  purposes = {
    cluster = {
      about      = "secrets inside Kubernetes"
      statements = []
    }
    data = {
      about = "databases, disks, files, buckets, secrets"
      statements = [
        {
          # Auto Scaling starts nodes by a role of its own, which IAM policies cannot reach; it comes through EC2.
          Sid       = "ThroughServicesOfTheAccount"
          Effect    = "Allow"
          Principal = { AWS = "*" }
          Action    = concat(local.use, ["kms:CreateGrant"])
          Resource  = "*"
          Condition = {
            StringEquals = {
              "kms:CallerAccount" = local.account
              "kms:ViaService"    = "ec2.${local.region}.amazonaws.com"
            }
          }
        },
      ]
    }
    logs = {
      about = "log groups"
      statements = [
        {
          Sid       = "CloudWatchLogs"
          Effect    = "Allow"
          Principal = { Service = "logs.${local.region}.amazonaws.com" }
          Action    = local.use
          Resource  = "*"
          Condition = {
            ArnLike = {
              "kms:EncryptionContext:aws:logs:arn" = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:*"
            }
          }
        },
      ]
    }
    messages = {
      about = "queues and topics"
      statements = [
        {
          Sid       = "Publishers"
          Effect    = "Allow"
          Principal = { Service = ["cloudwatch.amazonaws.com", "budgets.amazonaws.com", "ses.amazonaws.com", "events.rds.amazonaws.com", "sns.amazonaws.com"] }
          Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
          Resource  = "*"
          Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
        },
      ]
    }
  }
}

resource "aws_kms_key" "this" {
  #checkov:skip=CKV_AWS_33:The one wildcard principal is held to this account and to EC2 as the way in, as AWS's own key for disks is
  for_each = local.purposes

  description             = "${var.name}: ${each.value.about}"
  enable_key_rotation     = true
  deletion_window_in_days = var.deletion_window_days
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = concat([local.administration], each.value.statements)
  })

  tags = { Name = "${var.name}-${each.key}" }
}

resource "aws_kms_alias" "this" {
  for_each = local.purposes

  name          = "alias/${var.name}-${each.key}"
  target_key_id = aws_kms_key.this[each.key].key_id
}
