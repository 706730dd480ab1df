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
