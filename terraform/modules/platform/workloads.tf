# What each service may do in AWS, from what rtc.toml and the variable say that it uses.

locals {
  account   = data.aws_caller_identity.current.account_id
  region    = data.aws_region.current.name
  partition = data.aws_partition.current.partition

  service_workloads = {
    for name, service in var.services : name => {
      namespace       = var.namespace
      service_account = name
      statements = [
        for statement in [
          {
            wanted  = service.database || service.cache || service.events
            actions = ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"]
            resources = compact([
              service.database ? module.rds.service_secret_arns[name] : "",
              service.cache ? module.cache.secret_arn : "",
              service.events ? module.events.secret_arn : "",
              service.mail ? module.mail.smtp_secret_arn : "",
            ])
          },
          {
            wanted    = service.database || service.cache || service.events || service.images
            actions   = ["kms:Decrypt"]
            resources = [module.keys.arns["data"]]
          },
          {
            wanted    = service.images
            actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
            resources = ["${module.storage.bucket_arns["images"]}/*"]
          },
          {
            wanted    = service.images
            actions   = ["s3:ListBucket"]
            resources = [module.storage.bucket_arns["images"]]
          },
          {
            wanted    = service.images
            actions   = ["kms:GenerateDataKey"]
            resources = [module.keys.arns["data"]]
          },
          {
            wanted = service.queue
            actions = [
              "sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility",
              "sqs:GetQueueAttributes", "sqs:GetQueueUrl",
            ]
            resources = flatten([for queue in module.queue.queues : [queue.arn, queue.dead_arn]])
          },
          {
            wanted    = service.queue
            actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
            resources = [module.keys.arns["messages"]]
          },
          {
            wanted    = service.mail
            actions   = ["ses:SendEmail", "ses:SendRawEmail"]
            resources = [module.mail.identity_arn, module.mail.configuration_set_arn]
          },
          {
            wanted    = service.search
            actions   = ["es:ESHttpGet", "es:ESHttpHead", "es:ESHttpPost", "es:ESHttpPut", "es:ESHttpDelete"]
            resources = ["arn:${local.partition}:es:${local.region}:${local.account}:domain/${local.name}/*"]
          },
        ] : { actions = statement.actions, resources = statement.resources } if statement.wanted
      ]
    }
  }

  cluster_workloads = {
    # Puts the gateway's pods into the load balancer's target group and takes them out.
    load-balancer-controller = {
      namespace       = "kube-system"
      service_account = "aws-load-balancer-controller"
      statements = [
        {
          actions   = ["elasticloadbalancing:RegisterTargets", "elasticloadbalancing:DeregisterTargets"]
          resources = [module.edge.target_group_arn]
        },
        {
          actions   = ["elasticloadbalancing:DescribeTargetGroups", "elasticloadbalancing:DescribeTargetHealth", "ec2:DescribeVpcs", "ec2:DescribeSubnets", "ec2:DescribeSecurityGroups", "ec2:DescribeInstances", "ec2:DescribeNetworkInterfaces", "ec2:DescribeAvailabilityZones"]
          resources = ["*"]
        },
      ]
    }
    cluster-autoscaler = {
      namespace       = "kube-system"
      service_account = "cluster-autoscaler"
      statements = [
        {
          actions    = ["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"]
          resources  = ["arn:${local.partition}:autoscaling:${local.region}:${local.account}:autoScalingGroup:*"]
          conditions = { StringEquals = { "aws:ResourceTag/k8s.io/cluster-autoscaler/${local.name}" = ["owned"] } }
        },
        {
          actions   = ["autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeAutoScalingInstances", "autoscaling:DescribeLaunchConfigurations", "autoscaling:DescribeScalingActivities", "autoscaling:DescribeTags", "ec2:DescribeImages", "ec2:DescribeInstanceTypes", "ec2:DescribeLaunchTemplateVersions", "ec2:GetInstanceTypesFromInstanceRequirements", "eks:DescribeNodegroup"]
          resources = ["*"]
        },
      ]
    }
  }

  workloads = merge(local.service_workloads, local.cluster_workloads)
}

data "aws_partition" "current" {}
