# Who may do what in AWS: a role for each workload (by Pod Identity, so no keys exist), and a policy for operators.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account     = data.aws_caller_identity.current.account_id
  partition   = data.aws_partition.current.partition
  region      = data.aws_region.current.name
  cluster_arn = "arn:${local.partition}:eks:${local.region}:${local.account}:cluster/${var.cluster_name}"
}

# The most that a workload can ever be given, whatever its policy comes to say: nothing that makes or changes identities.
resource "aws_iam_policy" "boundary" {
  #checkov:skip=CKV_AWS_355:What is allowed on everything only describes; those actions know no resources
  name        = "${var.name}-workload-boundary"
  description = "The most that a workload may do"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "WithinTheAccount"
        Effect = "Allow"
        Action = [
          "autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup", "eks:DescribeNodegroup",
          "elasticloadbalancing:DeregisterTargets", "elasticloadbalancing:RegisterTargets", "es:ESHttp*",
          "kms:Decrypt", "kms:GenerateDataKey", "s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject",
          "s3:ListBucket", "s3:PutObject", "secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue",
          "ses:SendEmail", "ses:SendRawEmail", "sqs:ChangeMessageVisibility", "sqs:DeleteMessage",
          "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ReceiveMessage", "sqs:SendMessage",
        ]
        Resource = ["arn:${local.partition}:*:*:${local.account}:*", "arn:${local.partition}:s3:::${var.name}-*"]
      },
      {
        Sid    = "Look"
        Effect = "Allow"
        Action = [
          "autoscaling:Describe*", "ec2:Describe*", "ec2:GetInstanceTypesFromInstanceRequirements",
          "elasticloadbalancing:Describe*",
        ]
        Resource = "*"
      },
    ]
  })
}

resource "aws_iam_role" "workload" {
  for_each = var.workloads

  name                 = "${var.name}-${each.key}"
  description          = "Pods of ${each.value.namespace}/${each.value.service_account}"
  permissions_boundary = aws_iam_policy.boundary.arn
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = ["sts:AssumeRole", "sts:TagSession"]
      Principal = { Service = "pods.eks.amazonaws.com" }
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account }
        ArnEquals    = { "aws:SourceArn" = local.cluster_arn }
      }
    }]
  })
}

resource "aws_iam_role_policy" "workload" {
  for_each = { for role, workload in var.workloads : role => workload if length(workload.statements) > 0 }

  name = "workload"
  role = aws_iam_role.workload[each.key].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      for statement in each.value.statements : merge(
        {
          Effect   = "Allow"
          Action   = statement.actions
          Resource = statement.resources
        },
        length(statement.conditions) > 0 ? { Condition = statement.conditions } : {},
      )
    ]
  })
}

# Operators reach machines by Session Manager alone, and only through the document that writes down what they type.
resource "aws_iam_policy" "operator" {
  name        = "${var.name}-operator"
  description = "Logged sessions to the machines of ${var.name}, and reading what rtcctl reads"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid    = "LoggedSessions"
          Effect = "Allow"
          Action = "ssm:StartSession"
          Resource = concat(values(var.session_instance_arns), [
            "arn:${local.partition}:ssm:${local.region}:${local.account}:document/${var.session_document}",
            "arn:${local.partition}:ssm:${local.region}::document/AWS-StartPortForwardingSession",
          ])
          Condition = { BoolIfExists = { "ssm:SessionDocumentAccessCheck" = "true" } }
        },
        {
          Sid      = "OwnSessions"
          Effect   = "Allow"
          Action   = ["ssm:ResumeSession", "ssm:TerminateSession"]
          Resource = "arn:${local.partition}:ssm:*:${local.account}:session/$${aws:userid}-*"
        },
        {
          Sid      = "SessionKey"
          Effect   = "Allow"
          Action   = "kms:GenerateDataKey"
          Resource = var.session_key_arn
        },
        {
          Sid      = "Cluster"
          Effect   = "Allow"
          Action   = ["eks:DescribeCluster", "eks:ListNodegroups", "eks:DescribeNodegroup"]
          Resource = [local.cluster_arn, "arn:${local.partition}:eks:${local.region}:${local.account}:nodegroup/${var.cluster_name}/*"]
        },
      ],
    )
  })
}
