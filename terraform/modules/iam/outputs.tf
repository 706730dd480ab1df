output "workload_roles" {
  description = "What Pod Identity binds: namespace, service account and role, by name."
  value = {
    for name, workload in var.workloads : name => {
      namespace       = workload.namespace
      service_account = workload.service_account
      role_arn        = aws_iam_role.workload[name].arn
    }
  }
}

output "operator_policy_arn" {
  description = "Policy to give to operators' roles."
  value       = aws_iam_policy.operator.arn
}
