variable "environment" {
  description = "Name of the environment, as rtc.toml has it."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,11}$", var.environment))
    error_message = "Two to twelve lower-case letters and digits, a letter first."
  }
}

variable "tags" {
  description = "Tags of everything; the provider's default tags reach most, these the rest."
  type        = map(string)
}

variable "zones" {
  description = "Availability zones, two or three."
  type        = list(string)
}

variable "cidr" {
  description = "Address range of the VPC."
  type        = string
  default     = "10.0.0.0/16"
}

variable "domain" {
  description = "Domain of the environment."
  type        = string
}

variable "create_zone" {
  description = "Whether the hosted zone of the domain is made here."
  type        = bool
  default     = true
}

variable "emails" {
  description = "Operators: told of alarms and of the budget."
  type        = set(string)
}

variable "admins" {
  description = "Principals that administer the cluster and the search domain."
  type        = set(string)
}

variable "public_access_cidrs" {
  description = "Networks that may reach the Kubernetes API from the internet."
  type        = set(string)
  default     = []
}

variable "protected" {
  description = "Whether what holds data, and what people come in by, refuses to be deleted; deleting it leaves a last snapshot."
  type        = bool
}

variable "log_retention_days" {
  description = "Days that logs are kept. Keeping costs a twentieth of writing, so the default is a year everywhere."
  type        = number
  default     = 365

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "CloudWatch keeps logs for 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731 … days."
  }
}

variable "services" {
  description = "Services of rtc.toml by name, and what each uses in AWS."
  type = map(object({
    database = optional(bool, true)
    cache    = optional(bool, true)
    events   = optional(bool, true)
    search   = optional(bool, false)
    images   = optional(bool, false)
    queue    = optional(bool, false)
    mail     = optional(bool, false)
  }))
  default = {
    gateway       = { database = false, events = false }
    users         = {}
    catalog       = { search = true, images = true }
    inventory     = {}
    orders        = {}
    payments      = {}
    analytics     = {}
    auctions      = {}
    assistant     = { search = true }
    marketing     = {}
    deliveries    = { search = true, queue = true }
    alerts        = {}
    notifications = { queue = true, mail = true }
  }
}

variable "namespace" {
  description = "Kubernetes namespace of the services; each runs under the service account of its name."
  type        = string
  default     = "rtc"
}

variable "images" {
  description = "Container images, one repository each."
  type        = set(string)
  default     = ["rtcd", "rtcctl"]
}

variable "network" {
  description = "How the VPC reaches out: NAT, and which AWS services are reached inside it."
  type = object({
    nat                      = string
    interface_endpoints      = set(string)
    interface_endpoint_zones = string
  })
}

variable "cluster" {
  description = "Kubernetes version, versions of add-ons (AWS's default where not named), and node groups."
  type = object({
    kubernetes_version = optional(string, "1.34")
    addon_versions     = optional(map(string), {})
    node_groups = map(object({
      instance_types = list(string)
      capacity_type  = optional(string, "ON_DEMAND")
      min_size       = number
      max_size       = number
      desired_size   = number
      disk_gib       = optional(number, 50)
    }))
  })
}

variable "database" {
  description = "Size of the database, its standby and its replicas."
  type = object({
    engine_version       = optional(string, "8.4")
    instance_class       = string
    storage_gib          = optional(number, 30)
    storage_max_gib      = optional(number, 500)
    multi_az             = bool
    replicas             = number
    backup_days          = number
    performance_insights = bool
    password_version     = optional(number, 1)
  })
}

variable "cache" {
  description = "Size of the cache and its replicas."
  type = object({
    node_type     = string
    replicas      = number
    token_version = optional(number, 1)
  })
}

variable "events" {
  description = "Which Kafka, and the size of each kind."
  type = object({
    backend          = string
    password_version = optional(number, 1)
    msk = optional(object({
      kafka_version    = optional(string, "3.9.x")
      instance_type    = optional(string, "kafka.m7g.large")
      brokers_per_zone = optional(number, 1)
      disk_gib         = optional(number, 200)
    }), {})
    ec2 = optional(object({
      kafka_version = optional(string, "3.9.1")
      kafka_sha512  = optional(string, "")
      instance_type = optional(string, "t3.medium")
      brokers       = optional(number, 3)
      disk_gib      = optional(number, 50)
    }), {})
  })
}

variable "search" {
  description = "Size of the search domain."
  type = object({
    instance_type         = string
    instances             = number
    dedicated_master_type = optional(string)
    disk_gib              = optional(number, 20)
  })
}

variable "ci" {
  description = "Jenkins' machine."
  type = object({
    instance_type = string
    disk_gib      = optional(number, 50)
  })
}

variable "edge" {
  description = "Rates that the firewall and API Gateway allow."
  type = object({
    requests_per_5_minutes  = optional(number, 3000)
    api_requests_per_second = optional(number, 1000)
    api_burst               = optional(number, 2000)
  })
  default = {}
}

variable "budget" {
  description = "What a month may cost, what it is counted over, and whether tagged machines are stopped without asking when it is spent."
  type = object({
    monthly_usd    = number
    cost_tag       = optional(string)
    stop_by_itself = bool
  })
}
