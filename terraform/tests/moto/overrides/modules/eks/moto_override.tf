resource "aws_eks_access_entry" "admin" {
  for_each = toset([])
}

resource "aws_eks_access_policy_association" "admin" {
  for_each = toset([])
}

resource "aws_eks_access_entry" "deployer" {
  for_each = {}
}

resource "aws_eks_access_policy_association" "deployer" {
  for_each = {}
}

resource "aws_eks_pod_identity_association" "workload" {
  for_each = {}
}

resource "aws_eks_addon" "before_nodes" {
  for_each = {}
}

resource "aws_eks_addon" "after_nodes" {
  for_each = {}
}

resource "aws_autoscaling_group_tag" "node" {
  for_each = {}
}

resource "aws_eks_cluster" "this" {
  dynamic "access_config" {
    for_each = []

    content {}
  }

  dynamic "upgrade_policy" {
    for_each = []

    content {}
  }
}

resource "aws_eks_node_group" "this" {
  lifecycle {
    ignore_changes = [scaling_config[0].desired_size, remote_access, node_repair_config, update_config]
  }
}

resource "aws_launch_template" "node" {
  lifecycle {
    ignore_changes = [tag_specifications]
  }
}
