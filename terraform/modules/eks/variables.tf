variable "name" {
  description = "Name of the cluster, and prefix of every other name."
  type        = string
}

variable "kubernetes_version" {
  description = "Kubernetes minor version."
  type        = string

  validation {
    condition     = can(regex("^1\\.[0-9]{2}$", var.kubernetes_version))
    error_message = "Give a minor version such as 1.34."
  }
}

variable "subnet_ids" {
  description = "Private subnets of nodes and of the control plane's addresses."
  type        = list(string)
}

variable "cluster_security_group_id" {
  description = "Security group of the control plane's addresses."
  type        = string
}

variable "node_security_group_id" {
  description = "Security group of the nodes."
  type        = string
}

variable "public_access_cidrs" {
  description = "Networks that may reach the API from the internet; none means that only the VPC can."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.public_access_cidrs : can(cidrnetmask(cidr)) && !endswith(cidr, "/0")])
    error_message = "Name networks in CIDR form; the whole internet is not one of them."
  }
}

variable "admins" {
  description = "Principals (ARNs of roles or users) that administer the cluster. Who creates it is not among them unless named."
  type        = set(string)

  validation {
    condition     = length(var.admins) > 0 && alltrue([for arn in var.admins : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/", arn))])
    error_message = "Name at least one IAM role or user by its ARN, or nobody can enter the cluster."
  }
}

variable "deployers" {
  description = "Principals that roll services out, by name: edit rights in the namespace of the services, nothing else."
  type        = map(string)
}

variable "namespace" {
  description = "Namespace of the services."
  type        = string
}

variable "node_groups" {
  description = "Managed node groups by name."
  type = map(object({
    instance_types = list(string)
    capacity_type  = optional(string, "ON_DEMAND")
    ami_type       = optional(string, "AL2023_x86_64_STANDARD")
    min_size       = number
    max_size       = number
    desired_size   = number
    disk_gib       = optional(number, 50)
    labels         = optional(map(string), {})
    taints = optional(map(object({
      value  = optional(string)
      effect = string
    })), {})
  }))

  validation {
    condition = alltrue([
      for group in var.node_groups :
      group.min_size <= group.desired_size && group.desired_size <= group.max_size && length(group.instance_types) > 0
    ])
    error_message = "Each node group needs an instance type, and min ≤ desired ≤ max."
  }

  validation {
    condition     = alltrue([for group in var.node_groups : contains(["ON_DEMAND", "SPOT"], group.capacity_type)])
    error_message = "capacity_type is ON_DEMAND or SPOT."
  }
}

variable "addon_versions" {
  description = "Versions of add-ons by name; what is not named gets AWS's default for the cluster's version."
  type        = map(string)
  default     = {}
}

variable "workload_roles" {
  description = "Roles that pods take by Pod Identity, by name."
  type = map(object({
    namespace       = string
    service_account = string
    role_arn        = string
  }))
}

variable "secrets_key_arn" {
  description = "KMS key of secrets inside Kubernetes."
  type        = string
}

variable "data_key_arn" {
  description = "KMS key of nodes' disks and of volumes."
  type        = string
}

variable "logs_key_arn" {
  description = "KMS key of log groups."
  type        = string
}

variable "log_retention_days" {
  description = "Days that the control plane's logs are kept."
  type        = number
}

variable "tags" {
  description = "Tags for what the provider's default tags do not reach: machines and disks that launch templates and Auto Scaling groups start."
  type        = map(string)
}
