# What the cluster needs inside itself: the network before the first node, the rest after it.

locals {
  # A role by Pod Identity where an add-on calls AWS.
  addons = {
    vpc-cni = {
      before_nodes    = true
      service_account = "aws-node"
      policies        = ["AmazonEKS_CNI_Policy"]
      settings        = { enableNetworkPolicy = "true" }
    }
    kube-proxy             = { before_nodes = true, service_account = null, policies = [], settings = null }
    eks-pod-identity-agent = { before_nodes = true, service_account = null, policies = [], settings = null }
    coredns                = { before_nodes = false, service_account = null, policies = [], settings = null }
    metrics-server         = { before_nodes = false, service_account = null, policies = [], settings = null }
    aws-ebs-csi-driver = {
      before_nodes    = false
      service_account = "ebs-csi-controller-sa"
      policies        = ["service-role/AmazonEBSCSIDriverPolicy"]
      settings        = null
    }
    aws-efs-csi-driver = {
      before_nodes    = false
      service_account = "efs-csi-controller-sa"
      policies        = ["service-role/AmazonEFSCSIDriverPolicy"]
      settings        = null
    }
    amazon-cloudwatch-observability = {
      before_nodes    = false
      service_account = "cloudwatch-agent"
      policies        = ["CloudWatchAgentServerPolicy"]
      settings        = null
    }
  }

  addons_with_role = { for name, addon in local.addons : name => addon if addon.service_account != null }
}

resource "aws_iam_role" "addon" {
  for_each = local.addons_with_role

  name        = "${var.name}-${each.key}"
  description = "Add-on ${each.key}"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = ["sts:AssumeRole", "sts:TagSession"]
      Principal = { Service = "pods.eks.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.current.account_id } }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "addon" {
  for_each = merge([
    for name, addon in local.addons_with_role : { for policy in addon.policies : "${name} ${policy}" => { addon = name, policy = policy } }
  ]...)

  role       = aws_iam_role.addon[each.value.addon].name
  policy_arn = "${local.policy}/${each.value.policy}"
}

# Volumes are encrypted with the environment's key, which AWS's policy for the driver does not know.
resource "aws_iam_role_policy" "volumes" {
  name = "volumes"
  role = aws_iam_role.addon["aws-ebs-csi-driver"].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:GenerateDataKeyWithoutPlaintext", "kms:DescribeKey"]
        Resource = var.data_key_arn
      },
      {
        Effect    = "Allow"
        Action    = "kms:CreateGrant"
        Resource  = var.data_key_arn
        Condition = { Bool = { "kms:GrantIsForAWSResource" = "true" } }
      },
    ]
  })
}

resource "aws_eks_addon" "before_nodes" {
  for_each = { for name, addon in local.addons : name => addon if addon.before_nodes }

  cluster_name                = aws_eks_cluster.this.name
  addon_name                  = each.key
  addon_version               = lookup(var.addon_versions, each.key, null)
  configuration_values        = each.value.settings == null ? null : jsonencode(each.value.settings)
  resolve_conflicts_on_create = "OVERWRITE"
  resolve_conflicts_on_update = "OVERWRITE"

  dynamic "pod_identity_association" {
    for_each = each.value.service_account == null ? [] : [each.value.service_account]

    content {
      service_account = pod_identity_association.value
      role_arn        = aws_iam_role.addon[each.key].arn
    }
  }
}

resource "aws_eks_addon" "after_nodes" {
  for_each = { for name, addon in local.addons : name => addon if !addon.before_nodes }

  cluster_name                = aws_eks_cluster.this.name
  addon_name                  = each.key
  addon_version               = lookup(var.addon_versions, each.key, null)
  configuration_values        = each.value.settings == null ? null : jsonencode(each.value.settings)
  resolve_conflicts_on_create = "OVERWRITE"
  resolve_conflicts_on_update = "OVERWRITE"

  dynamic "pod_identity_association" {
    for_each = each.value.service_account == null ? [] : [each.value.service_account]

    content {
      service_account = pod_identity_association.value
      role_arn        = aws_iam_role.addon[each.key].arn
    }
  }

  depends_on = [aws_eks_node_group.this, aws_iam_role_policy_attachment.addon, aws_iam_role_policy.volumes]
}
