# What a month may cost: a message at 50, 80 and 100 %, one when 100 % is foreseen, and at 100 % a stop of tagged machines.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  thresholds = {
    half     = { percent = 50, type = "ACTUAL" }
    most     = { percent = 80, type = "ACTUAL" }
    all      = { percent = 100, type = "ACTUAL" }
    foreseen = { percent = 100, type = "FORECASTED" }
  }
}

resource "aws_budgets_budget" "this" {
  name         = var.name
  budget_type  = "COST"
  time_unit    = "MONTHLY"
  limit_amount = format("%.1f", var.monthly_usd)
  limit_unit   = "USD"

  dynamic "cost_filter" {
    for_each = var.cost_tag == null ? [] : [var.cost_tag]

    content {
      name   = "TagKeyValue"
      values = ["user:${cost_filter.value}"]
    }
  }

  dynamic "notification" {
    for_each = local.thresholds

    content {
      notification_type          = notification.value.type
      comparison_operator        = "GREATER_THAN"
      threshold                  = notification.value.percent
      threshold_type             = "PERCENTAGE"
      subscriber_email_addresses = var.emails
      subscriber_sns_topic_arns  = [var.topic_arn]
    }
  }
}

resource "aws_iam_role" "stop" {
  name = "${var.name}-budget-stop"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "budgets.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.current.account_id } }
    }]
  })
}

# Whatever the action names, only machines that carry the tag can be stopped.
resource "aws_iam_role_policy" "stop" {
  #checkov:skip=CKV_AWS_355:ec2:DescribeInstanceStatus is an action on no resource
  name = "stop-tagged-machines"
  role = aws_iam_role.stop.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Action    = "ec2:StopInstances"
        Resource  = "arn:${data.aws_partition.current.partition}:ec2:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}:instance/*"
        Condition = { StringEquals = { "aws:ResourceTag/rtc:at-budget" = "stop" } }
      },
      {
        Effect   = "Allow"
        Action   = "ec2:DescribeInstanceStatus"
        Resource = "*"
      },
      {
        Effect = "Allow"
        Action = "ssm:StartAutomationExecution"
        Resource = [
          "arn:${data.aws_partition.current.partition}:ssm:${data.aws_region.current.name}::automation-definition/AWS-StopEC2Instance:*",
          "arn:${data.aws_partition.current.partition}:ssm:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}:automation-execution/*",
        ]
      },
    ]
  })
}

resource "aws_budgets_budget_action" "stop" {
  count = length(var.stoppable_instances) > 0 ? 1 : 0

  budget_name        = aws_budgets_budget.this.name
  action_type        = "RUN_SSM_DOCUMENTS"
  approval_model     = var.stop_by_itself ? "AUTOMATIC" : "MANUAL"
  notification_type  = "ACTUAL"
  execution_role_arn = aws_iam_role.stop.arn

  action_threshold {
    action_threshold_type  = "PERCENTAGE"
    action_threshold_value = 100
  }

  definition {
    ssm_action_definition {
      action_sub_type = "STOP_EC2_INSTANCES"
      region          = data.aws_region.current.name
      instance_ids    = values(var.stoppable_instances)
    }
  }

  dynamic "subscriber" {
    for_each = var.emails

    content {
      subscription_type = "EMAIL"
      address           = subscriber.value
    }
  }

  depends_on = [aws_iam_role_policy.stop]
}
